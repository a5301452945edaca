"""Strict mode: does a sliding window use its input up, and if not, which padding would make it?"""

from .._checks import Window

Size = tuple[int, int]


def _out(size: Size, win: Window, sides: tuple[int, int, int, int]) -> Size | None:
    """Output size with these four sides of padding, or None if it leaves a remainder."""
    out = []
    for axis in (0, 1):
        extent = (win.kernel[axis] - 1) * win.dilation[axis] + 1
        room = size[axis] + sides[2 * axis] + sides[2 * axis + 1] - extent
        if room < 0 or room % win.stride[axis]:
            return None
        out.append(room // win.stride[axis] + 1)
    return out[0], out[1]


def _advice(size: Size, win: Window) -> str:
    """The smallest padding that fits: equal on all sides if there is one, else more at the end."""
    for p in range(win.stride[0] * win.stride[1] + 1):
        out = _out(size, win, (p, p, p, p))
        if out is not None:
            return f"padding={p} would fit and give {out[0]}x{out[1]}"
    top, bottom, left, right = win.padding
    for bottom_more in range(bottom, bottom + win.stride[0]):
        for right_more in range(right, right + win.stride[1]):
            out = _out(size, win, (top, bottom_more, left, right_more))
            if out is not None:
                sides = ((top, bottom_more), (left, right_more))
                return f"padding={sides} would fit and give {out[0]}x{out[1]}"
    return "no padding fits"


def require_exact(op: str, size: Size, win: Window) -> None:
    """ValueError unless N - F + 2P is a multiple of the stride on both axes.

    Parameters
    ----------
    op : str
        Name that the message starts with.
    size : (int, int)
        H and W of the input.
    win : Window
        The checked window on that input.
    """
    for axis, name in enumerate("HW"):
        extent = (win.kernel[axis] - 1) * win.dilation[axis] + 1
        pads = win.padding[2 * axis] + win.padding[2 * axis + 1]
        room, stride = size[axis] + pads - extent, win.stride[axis]
        if room % stride:
            raise ValueError(
                f"{op}: the window leaves a remainder along {name}: "
                f"(N - F + 2P)/S + 1 = ({size[axis]} - {extent} + {pads})/{stride} + 1 = "
                f"{room / stride + 1:.2f}; {_advice(size, win)}"
            )
