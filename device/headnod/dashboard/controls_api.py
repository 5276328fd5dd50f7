"""The endpoints of the owner: controls, models, microphones, configuration, log, corrections and teaching.

Each calls one command of the listener; see `headnod.listener_commands`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec

from headnod.command_arguments import ChosenDevice, ControlsChange, Correct, ModelName, Values
from headnod.dashboard.endpoints import Endpoint, RequestError, read_body

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from headnod.dashboard.server import Request

    Call = Callable[..., Awaitable[msgspec.Raw]]

_PATH = "api/v1/"


def control_endpoints(call: Call) -> list[Endpoint]:
    """All endpoints.

    Args:
        call: Lets the listener apply a command with arguments and gives its answer; raises a RequestError.
    """

    def get(path: str, command: str, summary: str, **query: str) -> Endpoint:
        async def handler(request: Request) -> msgspec.Raw:
            _check_owner(request)
            return await call(command, **_numbers(request.query_params, query))

        return Endpoint("GET", _PATH + path, handler, summary, dict[str, Any], query=query)

    def act(
        path: str, command: str, summary: str, body: type[msgspec.Struct] | None = None, *, method: str = "POST"
    ) -> Endpoint:
        async def handler(request: Request) -> msgspec.Raw:
            given = {} if body is None else msgspec.to_builtins(await read_body(request, body))
            # What is absent is not sent as null.
            return await call(command, **{key: value for key, value in given.items() if value is not None})

        return Endpoint(method, _PATH + path, handler, summary, dict[str, Any], body)

    async def controls(_request: Request) -> msgspec.Raw:
        return await call("controls")

    async def delete_one(request: Request) -> msgspec.Raw:
        number = request.path_params["id"]
        if not (number.isascii() and number.isdecimal() and len(number) < 16):  # noqa: PLR2004 - digits of a row number
            raise RequestError("the number of a correction has digits only")
        return await call("delete_corrections", ids=[int(number)])

    everything = dict[str, Any]
    return [
        Endpoint("GET", _PATH + "controls", controls, "What can be set, as it is now", everything),
        act("controls", "change", "Set any of the controls", ControlsChange, method="PATCH"),
        get("models", "models", "Installed and shipped models"),
        act("models/activate", "activate", "Test a model and activate it on probation", ModelName),
        act("models/rollback", "rollback", "Return to the previous model"),
        get("microphones", "microphones", "Microphones, levels and advice on their place"),
        act("microphone", "microphone", "Choose a microphone", ChosenDevice),
        act("restart", "restart", "End the listener and start it again"),
        get("log", "log", "The log of the last hours", hours="how many, up to 168; 24 if absent"),
        get("configuration", "configuration", "Every setting with its origin"),
        act("configuration", "configure", "Set values in headnod.local.toml", Values, method="PATCH"),
        get("corrections", "corrections", "Corrections, the newest first"),
        act("corrections", "correct", "Label a time range", Correct),
        act("corrections", "delete_corrections", "Delete all corrections", method="DELETE"),
        Endpoint("DELETE", _PATH + "corrections/{id}", delete_one, "Delete a correction", everything),
        get("suggestions", "suggest", "Moments whose label would teach most"),
        get("teach", "teaching", "Whether a model is being taught, and the last result"),
        act("teach", "teach", "Make a new model from the corrections"),
    ]


def _check_owner(request: Request) -> None:
    """Refuse readers what tells more than the estimates: hosts, file names and the log.

    Raises:
        RequestError: The visitor is not the owner.
    """
    if request.scope["visitor"].role != "owner":
        raise RequestError("only the owner may read this", 403)


def _numbers(given: Any, names: Any) -> dict[str, float]:  # noqa: ANN401 - parameters of a Starlette request
    found = {}
    for name in names:
        if name in given:
            try:
                found[name] = float(given[name])
            except ValueError:
                found[name] = math.nan
            if not math.isfinite(found[name]):
                message = f"{name}: '{given[name][:20]}' is not a number"
                raise RequestError(message)
    return found
