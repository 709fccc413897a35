"""What stands in for your own two models and samples here: those of the digits example, under plain names.

python stand_ins.py            writes small.onnx, large.onnx, labels.txt and samples/<label>/<number>.pgm
"""

from __future__ import annotations

import shutil
from pathlib import Path

from cascade_cli.demo.digits import splits

RELEASE = Path(__file__).resolve().parents[1] / "digits/release"
SAMPLES = 200

for name, tier in (("small.onnx", "edge"), ("large.onnx", "cloud")):
    shutil.copy(RELEASE / tier / "model.onnx", name)
Path("labels.txt").write_text("".join(f"{digit}\n" for digit in range(10)))
_, _, held_out = splits()  # images that neither model was trained on
for number, (image, label) in enumerate(zip(held_out.images[:SAMPLES], held_out.labels[:SAMPLES], strict=True)):
    path = Path(f"samples/{label}/{number:03}.pgm")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"P5 8 8 16\n" + image.tobytes())  # 8×8 grey levels from 0 to 16
print(f"small.onnx, large.onnx, labels.txt, and {SAMPLES} images in samples")
