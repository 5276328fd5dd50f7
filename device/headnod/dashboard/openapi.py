"""The OpenAPI 3.1 document of the page's JSON interface, made from its endpoints."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from headnod import __version__
from headnod.dashboard.endpoints import Endpoint

_PARAMETER = re.compile(r"\{(\w+)\}")
_REFERENCE = "#/components/schemas/{name}"


class Problem(msgspec.Struct, frozen=True):
    """The answer to a request that is refused."""

    error: str
    """The reason, in one line."""


def document(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """The document that describes these endpoints."""
    endpoints = list(endpoints)
    kinds = [kind for each in endpoints for kind in (each.answer, each.body) if kind is not None]
    kinds.append(Problem)
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REFERENCE)
    # Types cannot be keys: some, such as list[dict], have no hash of their own in every version.
    schema = dict(zip(map(repr, kinds), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for each in endpoints:
        paths.setdefault(f"/{each.path}", {})[each.method.lower()] = _operation(each, schema)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "headnod",
            "version": __version__,
            "description": "The interface of the page of a listener. Every request but GET needs the owner's role and "
            "the header X-CSRF-Token with the value `csrf` of the session.",
        },
        "servers": [{"url": "../.."}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": "headnod_PORT"},
                "basic": {"type": "http", "scheme": "basic"},
            },
        },
        "security": [{"session": []}, {"basic": []}],
    }


def _operation(endpoint: Endpoint, schema: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {} if endpoint.answer is None else {"schema": schema[repr(endpoint.answer)]}
    refusal = {"content": {"application/json": {"schema": schema[repr(Problem)]}}}
    found: dict[str, Any] = {
        "summary": endpoint.summary,
        "operationId": f"{endpoint.method.lower()}_{re.sub(r'[^a-z0-9]+', '_', endpoint.path.lower()).strip('_')}",
        "parameters": [*_path_parameters(endpoint), *_query_parameters(endpoint)],
        "responses": {
            "200": {"description": "done", "content": {endpoint.media: content}},
            "default": {"description": "refused", **refusal},
        },
    }
    if endpoint.public:
        found["security"] = []
    elif endpoint.method != "GET":
        token = {"name": "X-CSRF-Token", "in": "header", "required": True, "schema": {"type": "string"}}
        found["parameters"].append(token)
    if endpoint.body is not None:
        body = {"application/json": {"schema": schema[repr(endpoint.body)]}}
        found["requestBody"] = {"required": True, "content": body}
    return found


def _path_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(endpoint.path)
    ]


def _query_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "description": meaning, "schema": {"type": "string"}}
        for name, meaning in endpoint.query.items()
    ]
