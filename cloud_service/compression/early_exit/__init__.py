"""Models with several exits: a network in segments, trained together, counted, and exported as stages of a bundle.

    network = SegmentedNetwork([(stem, exit1), (middle, exit2), (rest, exit3)])
    train_jointly(network, images, labels, Training(epochs=12))
    segments = export_segments(network, images[:512], folder)
    stages = stages_of(segments, InputSpec(tensor="image", shape=(28, 28), dtype="uint8"), LABELS)
    manifest = BundleManifest(format=1, name="pets-edge", task="pets", tier="edge", stages=stages, files={})
    write_bundle(release / "edge", manifest, {segment.path.name: segment.path for segment in segments})

`docs/early_exit.md` has the rest. Needs torch, which is loaded by these rooms only: the extra `compress`.
"""
