"""The answer where there is no address, or none for that method."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from api.envelope import refuse


def refusal_among(routes: Iterable[BaseRoute]) -> Callable[[Request, Exception], Coroutine[Any, Any, Response]]:
    """A handler that also says which methods the address has, as RFC 9110 asks of a 405."""
    known = [route for route in routes if isinstance(route, Route)]

    async def answer(request: Request, error: Exception) -> Response:
        response = await refuse(request, error)
        if response.status_code == 405:
            own = [route for route in request.app.routes if isinstance(route, Route)]
            found = {method for route in known + own if _is_at(route, request) for method in route.methods or ()}
            response.headers["Allow"] = ", ".join(sorted(found))
        return response

    return answer


def _is_at(route: Route, request: Request) -> bool:
    return route.path_regex.match(request.url.path) is not None
