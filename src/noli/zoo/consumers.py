"""Who reads a layer's map: which weights must follow when the channels of that map change places or signs.

The network is traced with torch.fx. From the layer on, the change is followed through what treats channels
alike (activations, pooling, upsampling), through depthwise convolutions and batch normalisation (whose own
weights follow), and through concatenation and sums of maps that changed alike, up to convolutions over all
channels, whose input filters end it. Everything else is refused: only what is proven exact is locked.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, fx, nn

from noli.core.errors import UsageError

# Channels of a map, in runs: whether a run is the locked layer's, and how long it is.
Runs = tuple[tuple[bool, int], ...]
# Alike for every channel, and f(-x) = -f(x); then what is alike for every channel only.
_ODD = (nn.Identity, nn.Dropout, nn.Dropout2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Upsample, nn.ZeroPad2d,
        nn.Tanh, nn.Hardtanh)  # fmt: skip
_ALIKE = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.SiLU, nn.GELU, nn.ELU, nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid,
          nn.Mish, nn.Softplus, nn.MaxPool2d, nn.AdaptiveMaxPool2d)  # fmt: skip
_ODD_CALLS: frozenset[Any] = frozenset({
    F.interpolate, F.avg_pool2d, F.adaptive_avg_pool2d, F.dropout, F.tanh, torch.tanh, torch.clone, "clone",
    "contiguous", "float", "tanh",
})  # fmt: skip
_ALIKE_CALLS: frozenset[Any] = frozenset({
    F.relu, F.relu_, torch.relu, F.relu6, F.leaky_relu, F.silu, F.gelu, F.elu, F.hardswish, F.sigmoid,
    torch.sigmoid, F.max_pool2d, F.adaptive_max_pool2d, F.mish, "relu", "relu_", "sigmoid",
})  # fmt: skip
_SUMS: frozenset[Any] = frozenset({operator.add, operator.iadd, torch.add, "add", "add_"})


class Edit(BaseModel):
    """Weights that follow a change of a layer's channels.

    Attributes:
        module: Name of the module.
        kind: ``inputs`` (filters of a convolution, by input channel), ``transposed`` (the same of a
            transposed one), ``depthwise`` or ``norm`` (everything the module has per channel).
        starts: Where the layer's channels begin among those of the module.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    module: str
    kind: Literal["inputs", "transposed", "depthwise", "norm"]
    starts: tuple[int, ...] = Field(min_length=1)


def edits_for(net: nn.Module, layer: str, example: Tensor, *, signs: bool) -> tuple[Edit, ...]:
    """Return the weights that must follow, in the order of the network.

    Args:
        net: Any network that torch.fx can trace; not changed.
        layer: Name of the module whose output changes.
        example: An input, for the sizes of maps.
        signs: Channels change signs, too, which fewer functions let pass.

    Raises:
        UsageError: It cannot be traced, or a reader of the map cannot be made to follow.
    """
    graph = _traced(net)
    sizes = _Sizes(net, graph).found(example)
    inside = [node for node in graph.nodes if layer in node.meta.get("nn_module_stack", {})]
    given = [node for node in inside if any(user not in inside for user in node.users)]
    calls = [node for node in graph.nodes if node.op == "call_module" and node.target == layer]
    if len(given) != 1 or given[0] not in sizes or len(calls) > 1:
        why = f"{len(given)} maps leave it" if len(calls) < 2 else f"it is used {len(calls)} times"
        raise _refused(layer, why)
    changed: dict[fx.Node, Runs] = {given[0]: ((True, sizes[given[0]]),)}
    edits: dict[str, Edit] = {}
    follow = _Follower(dict(net.named_modules()), sizes, changed, edits, signs)
    within = set(inside)
    for node in graph.nodes:
        # Inside of the layer its map is still as it was.
        if node not in within and any(source in changed for source in node.all_input_nodes):
            follow(node)
    _check_alone(net, graph, edits)
    if not edits:
        raise _refused(layer, "no convolution reads its map")
    return tuple(edits.values())


def _traced(net: nn.Module) -> fx.Graph:
    try:
        return fx.Tracer().trace(net)
    # Tracing runs the network's own code, which may fail in any way.
    except Exception as error:
        raise UsageError(
            "The network cannot be traced.",
            why=f"{type(error).__name__}: {error}".partition("\n")[0],
            fix="name with `within` a part of it that has no branches which depend on values, and that holds "
            "the layer and everything that reads it",
        ) from error


class _Sizes(fx.Interpreter):
    """How many channels every map has, from running the traced network once."""

    def __init__(self, net: nn.Module, graph: fx.Graph) -> None:
        super().__init__(net, graph=graph)
        self.channels: dict[fx.Node, int] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run a node and note the channels of what it gives."""
        made = super().run_node(n)
        if isinstance(made, Tensor) and made.ndim == 4:
            self.channels[n] = made.shape[1]
        return made

    def found(self, example: Tensor) -> dict[fx.Node, int]:
        """Return channels by node."""
        with torch.no_grad():
            self.run(example)
        return self.channels


@dataclass
class _Follower:
    modules: dict[str, nn.Module]
    sizes: dict[fx.Node, int]
    changed: dict[fx.Node, Runs]
    edits: dict[str, Edit]
    signs: bool

    def __call__(self, node: fx.Node) -> None:
        """Say what becomes of a changed map in this node."""
        if node.op == "call_module":
            runs = self._through_module(node, self.modules[str(node.target)])
        elif node.op in ("call_function", "call_method"):
            runs = self._through_call(node)
        else:
            raise _refused(node.name, "the map leaves the network as it is")
        if runs is not None:
            self.changed[node] = runs

    def _through_module(self, node: fx.Node, module: nn.Module) -> Runs | None:
        runs = self._only(node)
        if isinstance(module, _ODD) or (isinstance(module, _ALIKE) and not self.signs):
            return runs
        if isinstance(module, nn.BatchNorm2d):
            return self._edit(node, "norm", runs)
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            if module.groups == 1:
                self._edit(node, "transposed" if isinstance(module, nn.ConvTranspose2d) else "inputs", runs)
                return None
            if isinstance(module, nn.Conv2d) and module.groups == module.in_channels == module.out_channels:
                return self._edit(node, "depthwise", runs)
            raise _refused(str(node.target), f"it is a convolution in {module.groups} groups")
        raise _refused(str(node.target), f"{type(module).__name__} does not treat every channel alike")

    def _through_call(self, node: fx.Node) -> Runs | None:
        target = node.target
        if target in ("size", "dim") or (target is getattr and node.args[1] in ("shape", "device", "dtype")):
            return None  # not the map itself
        if target in _ODD_CALLS or (target in _ALIKE_CALLS and not self.signs):
            return self._only(node)
        if target in (torch.cat, torch.concat):
            return self._joined(node)
        if target in _SUMS:
            parts = node.all_input_nodes
            runs = {self.changed.get(one) for one in parts}
            whole = len(parts) == 2 or not self.signs
            if whole and len(runs) == 1 and not node.kwargs:
                return runs.pop()
            raise _refused(node.name, "a changed map is added to one that has not changed alike")
        name = target if isinstance(target, str) else getattr(target, "__name__", str(target))
        raise _refused(node.name, f"{name} is not known to treat every channel alike")

    def _joined(self, node: fx.Node) -> Runs:
        parts = node.args[0]
        axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        if axis not in (1, -3) or not isinstance(parts, Iterable):
            raise _refused(node.name, "maps are joined along another axis than channels")
        runs: list[tuple[bool, int]] = []
        for part in parts:
            if not isinstance(part, fx.Node):
                raise _refused(node.name, "it joins what is no map")
            runs += self.changed.get(part) or [(False, self.sizes.get(part, 0))]
        return tuple(runs)

    def _edit(self, node: fx.Node, kind: Any, runs: Runs) -> Runs:
        starts, at = [], 0
        for own, length in runs:
            starts += [at] if own else []
            at += length
        name = str(node.target)
        edit = Edit(module=name, kind=kind, starts=tuple(starts))
        if self.edits.setdefault(name, edit) != edit:
            raise _refused(name, "it reads the map in two different ways")
        return runs

    def _only(self, node: fx.Node) -> Runs:
        sources = [one for one in node.all_input_nodes if one in self.changed]
        if len(sources) != 1 or node.args[:1] != (sources[0],):
            raise _refused(node.name, "the map is not its first and only input")
        return self.changed[sources[0]]


def _check_alone(net: nn.Module, graph: fx.Graph, edits: dict[str, Edit]) -> None:
    """Refuse weights that somebody else reads, too."""
    owners = Counter(id(value) for _, value in net.named_parameters(remove_duplicate=False))
    used = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    direct = [str(node.target) for node in graph.nodes if node.op == "get_attr"]
    for name in edits:
        module = net.get_submodule(name)
        shared = any(owners[id(value)] > 1 for value in module.parameters())
        if shared or any(one.startswith(f"{name}.") for one in direct):
            raise _refused(name, "its weights are used elsewhere, too")
        if used[name] > 1:
            raise _refused(name, f"it is used {used[name]} times")


def _refused(where: str, why: str) -> UsageError:
    fix = "lock another layer: one whose map is read by ordinary convolutions"
    return UsageError("This layer cannot be locked exactly.", where=where, why=why, fix=fix)
