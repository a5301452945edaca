"""Make fastcnn/data/embedded/ from the full MNIST: the first 5,000 and 1,000 digits.

Usage: python scripts/make_embedded_digits.py FOLDER, where FOLDER holds the four genuine files,
plain or gzip. Prints the SHA-256 of each result's content, which fastcnn/data/mnist.py checks.
(The gzip bytes may differ with the version of zlib; the content may not.)
"""

import sys
from pathlib import Path

from fastcnn.data.idx import content_sha256, read_idx, write_idx
from fastcnn.data.mnist import EMBEDDED, MNIST
from fastcnn.data.sources import find_file

FIRST = {"train": 5000, "t10k": 1000}


def main(folder: Path) -> None:
    for name, expected in MNIST.digests.items():
        whole = read_idx(find_file(folder, name))
        if content_sha256(whole) != expected:
            sys.exit(f"{folder}: {name} is not the genuine file")
        part = whole[: FIRST[name.split("-")[0]]]
        write_idx(EMBEDDED / f"{name}.gz", part)
        size = (EMBEDDED / f"{name}.gz").stat().st_size
        print(f"{name}: {part.shape}, {size} bytes, sha256 {content_sha256(part)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
