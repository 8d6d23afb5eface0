"""Transfer: what attacks made on one device do to the others."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Transfer(BaseModel):
    """Accuracy of every device on pictures that were made on each of them.

    Attributes:
        devices: Names of the devices that are attacked, in order.
        sources: What pictures are made on: the devices in the same order, then others.
        clean: Accuracy of the devices on the pictures before.
        accuracy: A row per source, a column per device; the worst attack counts for every picture.
        eps: Radius of the L-infinity ball in [0, 1] units.
        pictures: How many held-out pictures.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    devices: tuple[str, ...]
    sources: tuple[str, ...]
    clean: tuple[float, ...]
    accuracy: tuple[tuple[float, ...], ...]
    eps: float
    pictures: int

    @property
    def own(self) -> float:
        """Mean accuracy of devices that are attacked themselves: what whoever has one does to it."""
        return sum(self.accuracy[i][i] for i in range(len(self.devices))) / len(self.devices)

    @property
    def across(self) -> tuple[float, ...]:
        """Accuracies of devices under pictures made on another device."""
        size = len(self.devices)
        return tuple(self.accuracy[i][j] for i in range(size) for j in range(size) if i != j)

    @property
    def kept(self) -> float | None:
        """Mean accuracy across devices as a share of the clean one; None for a single device."""
        if not self.across or not sum(self.clean):
            return None
        return (sum(self.across) / len(self.across)) / (sum(self.clean) / len(self.clean))

    @property
    def words(self) -> tuple[str, ...]:
        """What came of it, in plain words."""
        clean = sum(self.clean) / len(self.clean)
        said = [f"Unattacked, devices are right in {clean:.1%}; attacked by who has them, in {self.own:.1%}."]
        if self.kept is not None:
            mean = sum(self.across) / len(self.across)
            said.append(
                f"Pictures made on one device leave another {mean:.1%} on average and "
                f"{min(self.across):.1%} at worst: {self.kept:.0%} of what it has unattacked."
            )
        return tuple(said)
