"""Parts of a net by name: frozen and thawed, with learning rates of their own, replaced.

`Selection` is what every `Layer` inherits. A name is the dotted one of `named_parameters`,
`named_buffers` or `named_layers`; a pattern is a name in which ``*`` stands for anything, ``?`` for
one character and ``[12]`` for one of those. A layer's name stands for all that is below it.
"""

import fnmatch
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from .parameter import Buffer, Parameter

if TYPE_CHECKING:
    from .layer import Layer


def _hits(name: str, pattern: str) -> bool:
    """Whether a pattern is the name of a parameter or buffer, or of a layer above it."""
    parts = name.split(".")
    above = (".".join(parts[:i]) for i in range(len(parts), 0, -1))
    return any(fnmatch.fnmatchcase(part, pattern) for part in above)


class Selection:
    """What layers do with parts of themselves that are given by name."""

    if TYPE_CHECKING:

        def named_layers(self) -> Iterator[tuple[str, Layer]]: ...
        def named_parameters(self) -> Iterator[tuple[str, Parameter]]: ...
        def _named_state(self) -> Iterator[tuple[str, Parameter | Buffer]]: ...
        def _name_state(self) -> None: ...

    def freeze(self, *patterns: str, before: str | None = None, since: str | None = None) -> Self:
        """Train these parts no longer, by name or by where they stand; without arguments, all.

        A frozen parameter is left by optimizers as it is (no weight decay either), and the backward
        pass skips its gradient, and everything below the lowest layer that still trains. A batch
        norm that is frozen with its running statistics uses them in training too, instead of the
        batch's, and they stay as they are: a frozen part computes in training what it computes in
        inference, but for dropout.

        Parameters
        ----------
        *patterns : str
            Names of layers, parameters or buffers, such as ``"conv1"``, ``"layer[12]"``,
            ``"*.bias"``; a layer's name stands for all below it.
        before, since : str, optional
            The layers before this one, or from this one on, in the order of `named_layers`. With
            both, those that are on both sides.

        Returns
        -------
        Layer
            The layer itself.

        Raises
        ------
        ValueError
            If a pattern fits no name, or there is no such layer.

        Notes
        -----
        In PyTorch, ``requires_grad = False`` for the parameters of a batch norm does not stop its
        running statistics, only ``eval()`` does; the same holds here for `Parameter.requires_grad`
        set by hand, or ``freeze("bn.weight", "bn.bias")``. ``freeze("bn")`` does both.

        Examples
        --------
        >>> from fastcnn import models
        >>> model = models.lenet5(seed=0).freeze("conv*")
        >>> [p.name for p in model.parameters() if p.requires_grad]
        ['fc1.weight', 'fc1.bias', 'fc2.weight', 'fc2.bias', 'fc3.weight', 'fc3.bias']
        >>> model.freeze(before="fc3").num_parameters(trainable=True)
        850
        """
        return self._set_frozen("freeze", True, patterns, before, since)

    def unfreeze(self, *patterns: str, before: str | None = None, since: str | None = None) -> Self:
        """Train these parts again; the arguments are those of `freeze`.

        Returns
        -------
        Layer
            The layer itself.

        Raises
        ------
        ValueError
            As `freeze`.

        Examples
        --------
        >>> from fastcnn import models
        >>> model = models.lenet5(seed=0).freeze().unfreeze(since="fc2")
        >>> [p.name for p in model.parameters() if p.requires_grad]
        ['fc2.weight', 'fc2.bias', 'fc3.weight', 'fc3.bias']
        """
        return self._set_frozen("unfreeze", False, patterns, before, since)

    def _set_frozen(
        self,
        op: str,
        frozen: bool,
        patterns: tuple[str, ...],
        before: str | None,
        since: str | None,
    ) -> Self:
        chosen = self._matching(op, patterns)
        for limit, inside in ((before, False), (since, True)):
            if limit is not None:
                chosen = [item for item in chosen if self._follows(op, item[0], limit) is inside]
        for _, item in chosen:
            if isinstance(item, Parameter):
                item.requires_grad = not frozen
            else:
                item.frozen = frozen
        return self

    def _matching(self, op: str, patterns: tuple[str, ...]) -> list[tuple[str, Parameter | Buffer]]:
        """Parameters and buffers that any of the patterns names; without patterns all."""
        state = list(self._named_state())
        if not patterns:
            return state
        for pattern in patterns:
            if not isinstance(pattern, str) or not any(_hits(name, pattern) for name, _ in state):
                raise ValueError(f"{op}: {pattern!r} fits no name; there are {self._known()}")
        return [item for item in state if any(_hits(item[0], p) for p in patterns)]

    def _follows(self, op: str, name: str, limit: str) -> bool:
        """Whether a parameter or buffer belongs to layer `limit` or one that comes after it."""
        order = [layer for layer, _ in self.named_layers()]
        if limit not in order:
            raise ValueError(f"{op}: there is no layer {limit!r}; there are {self._known()}")
        owner = name.rpartition(".")[0]
        return order.index(owner) >= order.index(limit)

    def _known(self) -> str:
        """The layers that have parameters or buffers, for messages."""
        owners = dict.fromkeys(name.rpartition(".")[0] or name for name, _ in self._named_state())
        return ", ".join(owners) or "none with parameters"

    def parameter_groups(self, rates: Mapping[str, float]) -> list[dict[str, Any]]:
        """Groups for an optimizer, which give parts of the net learning rates of their own.

        Parameters
        ----------
        rates : mapping of str to float
            Learning rates by pattern, as in `freeze`; the first that fits a name counts. Parameters
            that none fits have the optimizer's own rate.

        Returns
        -------
        list of dict
            ``{"params": [...], "lr": ...}`` for each pattern, and ``{"params": [...]}`` for the
            rest if there is one.

        Raises
        ------
        ValueError
            If a pattern fits no parameter that no pattern before it takes.

        Examples
        --------
        Fine-tuning: the convolutions at a tenth of the rate.

        >>> from fastcnn import models, optim
        >>> model = models.lenet5(seed=0)
        >>> optimizer = optim.SGD(model.parameter_groups({"conv*": 0.001}), lr=0.01, momentum=0.9)
        >>> [(p.name, rate) for p, rate, _ in optimizer.entries()][2:6]
        [('conv2.weight', 0.1), ('conv2.bias', 0.1), ('fc1.weight', 1.0), ('fc1.bias', 1.0)]
        """
        rest = dict(self.named_parameters())
        groups: list[dict[str, Any]] = []
        for pattern, rate in rates.items():
            found = [name for name in rest if _hits(name, pattern)]
            if not found:
                raise ValueError(
                    f"parameter_groups: {pattern!r} fits no parameter that is left; there are "
                    f"{', '.join(rest) or 'none'}"
                )
            groups.append({"params": [rest.pop(name) for name in found], "lr": rate})
        return [*groups, {"params": [*rest.values()]}] if rest else groups

    def replace(self, name: str, layer: "Layer") -> Self:
        """Put another layer in the place of one, in this net itself; all others stay.

        Parameters
        ----------
        name : str
            Dotted name of the layer to replace.
        layer : Layer
            What comes in its place, under its name.

        Returns
        -------
        Layer
            The net itself. For a net of its own, ``copy.deepcopy(net).replace(...)``.

        Raises
        ------
        ValueError
            If there is no such layer, or the new one does not take as many inputs.

        Notes
        -----
        An optimizer and a plan know the parameters that they were made with: make them anew.

        Examples
        --------
        >>> from fastcnn import models, nn
        >>> model = models.lenet5(seed=0).replace("fc3", nn.Linear(84, 5, seed=1))
        >>> model.output_shape((1, 28, 28))
        (5,)
        """
        if not callable(getattr(layer, "backward", None)):
            raise ValueError(f"replace: expected a layer for {name!r}, got {layer!r}")
        path, _, key = name.rpartition(".")
        layers = dict(self.named_layers())
        while name in layers and name and path not in layers:  # a member of a list is "list.0"
            path, _, last = path.rpartition(".")
            key = f"{last}.{key}"
        if not name or name not in layers:
            names = ", ".join(n for n in layers if n)
            raise ValueError(f"replace: there is no layer {name!r}; there are {names or 'none'}")
        layers[path]._put(key, layer)
        self._name_state()
        return self

    def _put(self, key: str, layer: "Layer") -> None:
        """Make `layer` the member `key`: an attribute, or an element of one."""
        attribute, _, element = key.partition(".")
        if not element:
            setattr(self, attribute, layer)
            return
        held: Any = getattr(self, attribute)
        if isinstance(held, dict):
            found = next(k for k in held if str(k) == element)
            setattr(self, attribute, {**held, found: layer})
        else:
            items = [layer if i == int(element) else item for i, item in enumerate(held)]
            setattr(self, attribute, type(held)(items))
