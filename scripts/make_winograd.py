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
only in the sign of some columns, which the kernels use. The points decide the rounding error: with
3/4 and 3/2 the error of F(4, 3) is half of that with the usual 1 and 2.

Stride 2 with three taps, four outputs: y_k = (g_0 d_2k + g_2 d_2k+2) + g_1 d_2k+1. The bracket is a
correlation of the even elements of d with two taps, F(4, 2), which takes five products; the odd
elements take one each. S2 puts both into one set of matrices for d of nine elements: first F(4, 2),
infinity's row in front (0 is not among its points, so that again a row comes before the pairs),
then four rows with a single 1. Those four share a row of G, the last.

S2T is its transpose, backward input: each of eight elements of dx sees one tap or two. With h the
taps turned round and d five elements of dy, dx_2k = h_1 d_k and dx_2k+1 = h_0 d_k + h_2 d_k+1.
The matrices have the same rows, in other places; G is that of S2.

With four taps both halves have two: S4 is F(4, 2) twice, on the even and on the odd elements of
ten, the second half's infinity last, so that all the pairs lie together. S4T, eight elements from
six: dx_2k = h_0 d_k + h_2 d_k+1 and dx_2k+1 = h_1 d_k+1 + h_3 d_k+2.
"""

from fractions import Fraction

# (m, r): the positive points of the pairs.
VARIANTS = {
    (4, 3): ("3/4", "3/2"),
    (2, 5): ("3/4", "3/2"),
    (6, 3): ("1", "2", "1/2"),
    (4, 5): ("1", "2", "1/2"),
    (4, 7): ("1/2", "2", "3/4", "4/3"),
}
TWO_TAPS = (4, 2), ("1/2", "3/2")  # of S2 and S4
Matrix = list[list[Fraction]]


def pairs(positive: tuple[str, ...]) -> list[Fraction]:
    return [s * Fraction(p) for p in positive for s in (1, -1)]


def times_linear(polynomial: list[Fraction], root: Fraction) -> list[Fraction]:
    """polynomial * (x - root), coefficients from the constant up."""
    up, down = [Fraction(0), *polynomial], [*polynomial, Fraction(0)]
    return [u - root * d for u, d in zip(up, down, strict=True)]


def construct(m: int, r: int, points: list[Fraction]) -> tuple[Matrix, Matrix, Matrix]:
    """(A, G, BT) of F(m, r) at t - 1 points and infinity, exact."""
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


def spread(row: list[Fraction], first: int, n: int, step: int = 2) -> list[Fraction]:
    """n elements: those of the row at `first` and every `step`-th place from there, else 0."""
    out = [Fraction(0)] * n
    out[first : first + step * len(row) : step] = row
    return out


def unit(n: int, i: int) -> list[Fraction]:
    return [Fraction(int(i == k)) for k in range(n)]


def variants() -> dict[str, tuple[Matrix, Matrix, Matrix]]:
    """(A, G, BT) of every variant, by the name that the kernels know it by."""
    made = {
        f"{m}_{r}": construct(m, r, [Fraction(0), *pairs(positive)])
        for (m, r), positive in VARIANTS.items()
    }
    (m, r), positive = TWO_TAPS
    a, g2, bt = ([rows[-1], *rows[:-1]] for rows in construct(m, r, pairs(positive)))
    g = [spread(row, 0, 3) for row in g2] + [unit(3, 1)]
    singles = range(m)
    made["S2"] = (
        a + [unit(4, k) for k in singles],
        g,
        [spread(row, 0, 9) for row in bt] + [unit(9, 2 * k + 1) for k in singles],
    )
    made["S2T"] = (
        [spread(row, 1, 8) for row in a] + [unit(8, 2 * k) for k in singles],
        g,
        bt + [unit(5, k) for k in singles],
    )

    def twice(rows: Matrix, first: tuple[int, int], n: int, step: int = 2) -> Matrix:
        """The rows spread to n from both places on, those at infinity first and last."""
        one, other = ([spread(row, f, n, step) for row in rows] for f in first)
        return one + other[1:] + other[:1]

    g = twice(g2, (0, 1), 4)
    made["S4"] = twice(a, (0, 0), 4, 1), g, twice(bt, (0, 1), 10)
    made["S4T"] = twice(a, (0, 1), 8), g, twice(bt, (0, 1), 6, 1)
    return made


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
        " * construction. WINOGRAD_<matrix>_<variant>, rows one after another. */",
        "",
    ]
    for variant, matrices in variants().items():
        for name, matrix in zip(("A", "G", "BT"), matrices, strict=True):
            if name != "G" or not variant.endswith("T"):  # those have their forward pass's
                text.append(c_array(f"WINOGRAD_{name}_{variant}", matrix))
    return "\n".join(text).rstrip()


if __name__ == "__main__":
    print(header())
