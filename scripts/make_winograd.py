"""Prints csrc/winograd_matrices.h: ``python scripts/make_winograd.py > csrc/winograd_matrices.h``.

The construction is Cook-Toom's (A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural
Networks", 2016; S. Winograd, "Arithmetic Complexity of Computations", 1980). F(m, r) gives m
outputs of a correlation with r taps from t = m + r - 1 products, one at each of t - 1 points and
one at infinity. With a_j the points, L_j(x) the product of (x - a_l) over l != j, and P(x) the
product of all (x - a_l):

    A  (t x m)   row j: 1, a_j, a_j^2, ...          last row: 0 ... 0 1
    G  (t x r)   row j: (1, a_j, a_j^2, ...) / L_j(a_j)    last row: 0 ... 0 1
    BT (t x t)   row j: the coefficients of L_j     last row: the coefficients of P

and  y = A^T [(G g) * (BT d)]  for every d of t and g of r elements, exactly.

The points are 0 and pairs +p, -p, in this order, then infinity. Rows j and j + 1 of a pair differ
only in the sign of the odd columns, which the kernels use. The points decide the rounding error:
with 3/4 and 3/2 the error of F(4, 3) is half of that with the usual 1 and 2.
"""

from fractions import Fraction

# (m, r): the positive points of the pairs.
VARIANTS = {
    (4, 3): ("3/4", "3/2"),
    (6, 3): ("1", "2", "1/2"),
    (4, 5): ("1", "2", "1/2"),
}
Matrix = list[list[Fraction]]


def points_of(m: int, r: int) -> list[Fraction]:
    """0, then the pairs."""
    return [Fraction(0)] + [s * Fraction(p) for p in VARIANTS[m, r] for s in (1, -1)]


def times_linear(polynomial: list[Fraction], root: Fraction) -> list[Fraction]:
    """polynomial * (x - root), coefficients from the constant up."""
    up, down = [Fraction(0), *polynomial], [*polynomial, Fraction(0)]
    return [u - root * d for u, d in zip(up, down, strict=True)]


def construct(m: int, r: int) -> tuple[Matrix, Matrix, Matrix]:
    """(A, G, BT) of F(m, r), exact."""
    points = points_of(m, r)
    a, g, bt = [], [], []
    for j, p in enumerate(points):
        polynomial, at_p = [Fraction(1)], Fraction(1)
        for i, q in enumerate(points):
            if i != j:
                polynomial, at_p = times_linear(polynomial, q), at_p * (p - q)
        a.append([p**k for k in range(m)])
        g.append([p**k / at_p for k in range(r)])
        bt.append([*polynomial, Fraction(0)])
    polynomial = [Fraction(1)]
    for q in points:
        polynomial = times_linear(polynomial, q)
    a.append([Fraction(int(k == m - 1)) for k in range(m)])
    g.append([Fraction(int(k == r - 1)) for k in range(r)])
    bt.append(polynomial)
    return a, g, bt


def c_number(value: Fraction) -> str:
    whole = str(value.numerator)
    return whole if value.denominator == 1 else f"(real){whole} / {value.denominator}"


def c_array(name: str, matrix: Matrix) -> str:
    """A constant whose elements are quotients of integers: exact until the compiler rounds once."""
    rows = []
    for row in matrix:
        rows.append("    " + ", ".join(map(c_number, row)))
    size = len(matrix) * len(matrix[0])
    return f"static const real {name}[{size}] = {{\n" + ",\n".join(rows) + ",\n};\n"


def header() -> str:
    text = [
        "/* winograd_matrices.h - printed by scripts/make_winograd.py, which tells the",
        " * construction. WINOGRAD_<matrix>_<m>_<r>, rows one after another. */",
        "",
    ]
    for m, r in VARIANTS:
        for name, matrix in zip(("A", "G", "BT"), construct(m, r), strict=True):
            text.append(c_array(f"WINOGRAD_{name}_{m}_{r}", matrix))
    return "\n".join(text).rstrip()


if __name__ == "__main__":
    print(header())
