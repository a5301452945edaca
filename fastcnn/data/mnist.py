"""MNIST and its siblings: what they are, their checksums, and the functions that give them.

How they are found or downloaded is in sources.py.
"""

from pathlib import Path

from .dataset import ArrayDataset
from .idx import PathLike
from .sources import Collection, load, read_folder

EMBEDDED = Path(__file__).parent / "embedded"

_DIGITS = tuple("0123456789")
_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

MNIST = Collection(
    name="mnist",
    folders=("mnist", "MNIST/raw"),  # the second is torchvision's
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://raw.githubusercontent.com/fgnt/mnist/master/",
    ),
    digests={
        _FILES[0]: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        _FILES[1]: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        _FILES[2]: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        _FILES[3]: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    classes=_DIGITS,
    hint=" mnist(subset=True) needs no files.",
)

# The first 5,000 training and 1,000 test images of MNIST; scripts/make_embedded_digits.py.
SUBSET = MNIST._replace(
    name="embedded subset of mnist",
    mirrors=(),
    digests={
        _FILES[0]: "1e3ffdb2f57e22d9e5363dde25c2d057542c2e72baa312f0f3b03948bb3802b7",
        _FILES[1]: "685aeb7baef68233efa643639a5e9c15bb48be09a628f96fb7f606ca2a1ea7bc",
        _FILES[2]: "de7c252b04f05e1f8309634180ccdf286dc6dbac8c579b74e76e02ae0331ca52",
        _FILES[3]: "832c0d20f0dc42e575488c75a83a970787d4c8d4d05831b2ef03701b4a478a90",
    },
)

# MD5 of the .gz files as its authors list them in their README, and as in torchvision.
FASHION_MNIST = Collection(
    name="fashion_mnist",
    folders=("fashion_mnist", "FashionMNIST/raw"),
    mirrors=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    digests={
        _FILES[0]: "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        _FILES[1]: "md5:25c81989df183df01b3e8a0aad5dffbe",
        _FILES[2]: "md5:bef4ecab320f06d8554ea6380940ec79",
        _FILES[3]: "md5:bb300cfdad3c16e7a12a480ee83cd310",
    },
    classes=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
)

# MD5 of the .gz files as in torchvision (torchvision/datasets/mnist.py, class KMNIST).
KMNIST = Collection(
    name="kmnist",
    folders=("kmnist", "KMNIST/raw"),
    mirrors=(
        "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
    ),
    digests={
        _FILES[0]: "md5:bdb82020997e1d708af4cf47b453dcf7",
        _FILES[1]: "md5:e144d726b3acfaa3e44228e80efcd344",
        _FILES[2]: "md5:5c965bf0a639b31b8f53240b1b52f4d7",
        _FILES[3]: "md5:7320c461ea6c1c855c0b718fb2a4b134",
    },
    classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
)


def mnist(
    root: PathLike | None = None, *, subset: bool = False, download: bool = True
) -> tuple[ArrayDataset, ArrayDataset]:
    """The MNIST digits: 60,000 images for training and 10,000 for test, 28 x 28, grey.

    Looked for in `root`, in the folder that the environment variable FASTCNN_DATA names (in each
    also in a subfolder ``mnist``) and in the cache folder, then downloaded into the cache folder.
    Contents are verified by SHA-256; a source that fails for any reason leads to the next one.

    Parameters
    ----------
    root : path, optional
        A folder with the four files, plain or gzip.
    subset : bool, optional
        Take the first 5,000 training and 1,000 test images, which come with fastcnn, and look
        nowhere else.
    download : bool, optional
        Whether the network may be used. Needs the extra ``fastcnn[data]``.

    Returns
    -------
    train, test : ArrayDataset
        ``.x`` float32 of shape (N, 1, 28, 28) in [0, 1], ``.y`` int64 of shape (N,) in 0..9;
        ``.source`` tells where the files were found.

    Raises
    ------
    FileNotFoundError
        If no source has the data; the message says what was tried and how to place the files.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
    recognition", Proc. IEEE 86 (11), 1998.

    Examples
    --------
    >>> from fastcnn import data
    >>> train, test = data.mnist(subset=True)
    >>> len(train), len(test), train.x.shape
    (5000, 1000, (5000, 1, 28, 28))
    >>> x, y = train[0]
    >>> x.shape, int(y), train.source
    ((1, 28, 28), 5, 'the embedded subset')
    """
    if subset:
        return read_folder(SUBSET, EMBEDDED, "the embedded subset")
    return load(MNIST, root, download)


def fashion_mnist(
    root: PathLike | None = None, *, download: bool = True
) -> tuple[ArrayDataset, ArrayDataset]:
    """Fashion-MNIST: articles of clothing in the form of MNIST, 60,000 and 10,000 images.

    The sources are those of `mnist`, the subfolder is ``fashion_mnist``. The files must be the
    ``.gz`` files as published, since MD5 of these is what the authors give to verify them.

    Parameters
    ----------
    root, download
        As for `mnist`.

    Returns
    -------
    train, test : ArrayDataset
        As of `mnist`; ``.classes`` holds the names of the articles.

    Raises
    ------
    FileNotFoundError
        If no source has the data.

    References
    ----------
    H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine
    learning algorithms", arXiv:1708.07747.

    Examples
    --------
    >>> from fastcnn import data
    >>> train, test = data.fashion_mnist()  # doctest: +SKIP
    >>> train.classes[0]  # doctest: +SKIP
    'T-shirt/top'
    """
    return load(FASHION_MNIST, root, download)


def kmnist(
    root: PathLike | None = None, *, download: bool = True
) -> tuple[ArrayDataset, ArrayDataset]:
    """Kuzushiji-MNIST: cursive Japanese characters in the form of MNIST, 60,000 and 10,000.

    The sources are those of `mnist`, the subfolder is ``kmnist``. The files must be the ``.gz``
    files as published, which are verified by MD5.

    Parameters
    ----------
    root, download
        As for `mnist`.

    Returns
    -------
    train, test : ArrayDataset
        As of `mnist`; ``.classes`` holds the syllables.

    Raises
    ------
    FileNotFoundError
        If no source has the data.

    References
    ----------
    T. Clanuwat et al., "Deep learning for classical Japanese literature", arXiv:1812.01718.

    Examples
    --------
    >>> from fastcnn import data
    >>> train, test = data.kmnist()  # doctest: +SKIP
    >>> train.classes[0]  # doctest: +SKIP
    'o'
    """
    return load(KMNIST, root, download)


def mnist_or_subset(
    root: PathLike | None = None, *, download: bool = True
) -> tuple[ArrayDataset, ArrayDataset, str]:
    """The full MNIST where it is found or can be downloaded, else the embedded subset.

    Parameters
    ----------
    root, download
        As for `mnist`. A blocked network costs a few seconds.

    Returns
    -------
    train, test : ArrayDataset
        As of `mnist`.
    description : str
        Which of the two it is, and why, for people to read.

    Examples
    --------
    >>> from fastcnn import data
    >>> train, test, description = data.mnist_or_subset(download=False)
    >>> print(description)  # doctest: +ELLIPSIS
    MNIST, ... training and ... test images, from ...
    """
    why = ""
    try:
        train, test = mnist(root, download=download)
    except FileNotFoundError as error:
        train, test = mnist(subset=True)
        tried = (line.strip() for line in error.args[0].splitlines()[1:-1])
        why = f" (full set not found: {'; '.join(tried)})"
    sizes = f"{len(train):,} training and {len(test):,} test images"
    return train, test, f"MNIST, {sizes}, from {train.source}{why}"
