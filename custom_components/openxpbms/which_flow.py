"""The part of a flow that asks which pack is which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from homeassistant.helpers.selector import (
    SelectOptionDict,
    SelectSelector,
    SelectSelectorConfig,
    SelectSelectorMode,
)
import voluptuous as vol

from .matching import Matching
from .words import identity_label, pack_label

if TYPE_CHECKING:
    from .bms.bank import HeardPack
    from .bms.reading import Identity

CONF_PACK = "pack"
GONE = "gone"


class WhichFlow:
    """A page for each known battery that no address or serial number settles."""

    _matching: Matching | None = None
    _heard: dict[int, HeardPack]

    async def async_step_which(self, user_input: dict[str, Any] | None = None) -> Any:
        """Ask for the next battery until all are told."""
        matching = self._matching
        assert matching is not None
        battery = matching.waiting
        if user_input is not None and battery is not None:
            choice = user_input[CONF_PACK]
            matching.chosen[battery.address] = None if choice == GONE else int(choice)
            battery = matching.waiting
        if battery is None:
            return await self._matched(matching.result())
        flow: Any = self  # of config or of repairs: both show forms alike
        return flow.async_show_form(
            step_id="which",
            data_schema=vol.Schema(
                {
                    vol.Required(CONF_PACK): SelectSelector(
                        SelectSelectorConfig(
                            options=[*map(self._option, matching.left), GONE_OPTION],
                            translation_key=CONF_PACK,
                            mode=SelectSelectorMode.LIST,
                        )
                    )
                }
            ),
            description_placeholders={"battery": identity_label(battery)},
        )

    def _option(self, pack: Identity) -> SelectOptionDict:
        heard = self._heard.get(pack.address)
        label = pack_label(heard) if heard else identity_label(pack)
        return SelectOptionDict(value=str(pack.address), label=label)

    async def _matched(self, batteries: list[Identity]) -> Any:
        """Go on with the batteries as they are now."""
        raise NotImplementedError


GONE_OPTION = SelectOptionDict(value=GONE, label=GONE)
