"""Models with several exits: a network in segments, trained together, counted, and exported as stages of a bundle.

    network = SegmentedNetwork([(stem, exit1), (middle, exit2), (rest, exit3)])
    train_jointly(network, images, labels, Training(epochs=12))
    segments = export_segments(network, images[:512], folder, labels=LABELS)
    write_bundle(release / "edge", manifest(segments), files(segments, folder))

Needs torch, which is loaded by these rooms only: `pip install 'cascade-runtime[compress]'`.
"""
