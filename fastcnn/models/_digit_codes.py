"""The ten digits drawn in 7x12 pixels: targets of LeNet-5's last hidden layer.

In the manner of figure 3 of the 1998 paper, where a code is a stylised picture of its class, so
that classes that look alike have codes that are alike.
"""

import numpy as np

from .._checks import Array

_PICTURES = """
..###.. ...##.. .#####. .#####. .....## ####### ..####. ####### .#####. .#####.
.#...#. ..###.. ##...## #.....# ....### ##..... .##.... #.....# ##...## ##...##
##...## .####.. #.....# ......# ...#.## ##..... ##..... .....## #.....# #.....#
#.....# ...##.. ......# ......# ..#..## ##..... #...... .....#. #.....# #.....#
#.....# ...##.. .....## .....## .#...## ######. #.###.. ....##. ##...## ##...##
#.....# ...##.. ....##. ..####. ##...## ##...## ###..## ....#.. .#####. .######
#.....# ...##.. ...##.. .....## ####### ......# ##....# ...##.. ##...## .....##
#.....# ...##.. ..##... ......# .....## ......# #.....# ...#... #.....# ......#
#.....# ...##.. .##.... ......# .....## ......# #.....# ..##... #.....# ......#
##...## ...##.. ##..... ......# .....## #.....# ##....# ..##... #.....# .....##
.#...#. ...##.. #...... #.....# .....## ##...## .#...## ..##... ##...## ....##.
..###.. .###### ####### .#####. .....## .#####. ..####. ..##... .#####. .####..
"""


def digit_codes() -> Array:
    """(10, 84) float32: +1 for ink, -1 for paper, row by row.

    Examples
    --------
    >>> from fastcnn.models._digit_codes import digit_codes
    >>> for row in digit_codes()[7].reshape(12, 7)[:4]:
    ...     print("".join("#" if v > 0 else "." for v in row))
    #######
    #.....#
    .....##
    .....#.
    """
    rows = [line.split() for line in _PICTURES.split("\n") if line]
    ink = np.array([[list(cell) for cell in row] for row in rows]) == "#"  # (12, 10, 7)
    return np.where(ink.transpose(1, 0, 2).reshape(10, 84), 1, -1).astype(np.float32)
