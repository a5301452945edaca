"""Strict mode: does a sliding window use its input up, and if not, which padding would make it?"""

from .._checks import Window

Size = tuple[int, int]
_MOST = 64  # nobody pads by more, so no more is suggested


def _rooms(size: Size, win: Window) -> list[int]:
    """N - F + 2P on both axes."""
    return [
        size[a]
        + win.padding[2 * a]
        + win.padding[2 * a + 1]
        - ((win.kernel[a] - 1) * win.dilation[a] + 1)
        for a in (0, 1)
    ]


def _fitting(size: Size, win: Window, most: Size) -> Window | None:
    """The window with the smallest padding that leaves no remainder.

    The same on all sides if there is one, else what is there already and more at the end; None if
    that is more than `most` on a side.
    """
    for p in range(min(*most, _MOST) + 1):
        equal = win._replace(padding=(p, p, p, p))
        if all(r >= 0 and r % s == 0 for r, s in zip(_rooms(size, equal), win.stride, strict=True)):
            return equal
    top, bottom, left, right = win.padding
    more = [-r % s for r, s in zip(_rooms(size, win), win.stride, strict=True)]
    sides = (top, bottom + more[0], left, right + more[1])
    if max(sides[:2]) <= most[0] and max(sides[2:]) <= most[1]:
        return win._replace(padding=sides)
    return None


def _advice(size: Size, win: Window, most: Size) -> str:
    fits = _fitting(size, win, most)
    if fits is None:
        h, w = (n - r % s for n, r, s in zip(size, _rooms(size, win), win.stride, strict=True))
        return f"an input of {h}x{w} would fit"
    top, bottom, left, right = fits.padding
    padding = top if top == bottom == left == right else ((top, bottom), (left, right))
    h, w = (r // s + 1 for r, s in zip(_rooms(size, fits), win.stride, strict=True))
    return f"padding={padding} would fit and give {h}x{w}"


def require_exact(op: str, size: Size, win: Window, most: Size | None = None) -> None:
    """ValueError unless N - F + 2P is a multiple of the stride on both axes.

    Parameters
    ----------
    op : str
        Name that the message starts with.
    size : (int, int)
        H and W of the input.
    win : Window
        The checked window on that input.
    most : (int, int), optional
        The largest padding that the operation takes on each axis.
    """
    for name, axis, room in zip("HW", (0, 1), _rooms(size, win), strict=True):
        extent = (win.kernel[axis] - 1) * win.dilation[axis] + 1
        pads, stride = win.padding[2 * axis] + win.padding[2 * axis + 1], win.stride[axis]
        if room % stride:
            raise ValueError(
                f"{op}: the window leaves a remainder along {name}: "
                f"(N - F + 2P)/S + 1 = ({size[axis]} - {extent} + {pads})/{stride} + 1 = "
                f"{room / stride + 1:.2f}; {_advice(size, win, most or (2**31, 2**31))}"
            )
