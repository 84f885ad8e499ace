"""Where FEDYARD_PAGE is off there is no page: nothing of it is in the table, and / speaks to programs."""

from __future__ import annotations

from fedyard.wire.version import __version__
from tests.databases import fresh_sqlite
from tests.web.network import network
from web.http.answers import API
from web.serving.app import operations_of, web_of


def test_a_hub_without_a_page_answers_programs_alone(tmp_path) -> None:
    net = network(fresh_sqlite(tmp_path / "store.sqlite"), tmp_path, routing=None, page="off")
    try:
        operations = operations_of(web_of(net.app).hub.settings)
        assert [one.name for one in operations if one.kind is not API] == []
        client = net.app.test_client()
        assert client.get("/").get_json() == {
            "name": "Fedyard",
            "version": __version__,
            "documentation": "/openapi.json",
            "health": "/healthz",
        }
        for path in ("/page", "/page/now", "/page/nowhere", "/static/page.css"):
            response = client.get(path)
            assert (response.status_code, response.content_type) == (404, "application/problem+json")
        described = client.get("/openapi.json").get_json()["paths"]
        assert "/" in described
        assert [path for path in described if path.startswith(("/page", "/static"))] == []
    finally:
        net.close()
