from __future__ import annotations

from collections.abc import Callable

import httpx

Call = Callable[..., httpx.Response]
SEARCH = "/v1/images/"


def test_search_pages_hold_every_photo_once_with_licence_and_credit(call: Call) -> None:
    first = call("openverse", SEARCH, q="tram", page_size=5).json()
    pages = [
        call("openverse", SEARCH, q="tram", page_size=5, page=page).json() for page in range(1, first["page_count"] + 1)
    ]
    items = [item for page in pages for item in page["results"]]
    assert len({item["id"] for item in items}) == len(items) == first["result_count"]
    assert all(item["license_url"].startswith("https://creativecommons.org/") for item in items)
    assert all(item["creator"] in item["attribution"] for item in items)


def test_licences_can_be_chosen_and_a_file_is_served(call: Call, http: httpx.Client) -> None:
    items = call("openverse", SEARCH, license="cc0,pdm").json()["results"]
    assert {item["license"] for item in items} <= {"cc0", "pdm"}
    everything = call("openverse", SEARCH).json()["results"]
    assert {http.get(item["url"]).headers["content-type"] for item in everything} <= {
        "image/jpeg",
        "image/png",
        "image/webp",
    }
    assert call("openverse", f"/v1/images/{everything[0]['id']}/").json() == everything[0]


def test_anonymous_callers_get_small_pages_and_few_calls(call: Call, set_sandbox: Callable[..., None]) -> None:
    assert call("openverse", SEARCH, page_size=21).status_code == 401
    assert call("openverse", SEARCH, page=21).status_code == 400
    set_sandbox(openverse={"minute_limit": 3})
    assert call("openverse", SEARCH).headers["x-ratelimit-available-anon_burst"] == "0"
    refused = call("openverse", SEARCH)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 60


def test_a_token_lifts_the_limits(http: httpx.Client) -> None:
    form = {"client_id": "id", "client_secret": "sandbox", "grant_type": "client_credentials"}
    token = http.post("/openverse/v1/auth_tokens/token/", data=form).json()["access_token"]
    headers = {"authorization": f"Bearer {token}"}
    assert http.get("/openverse/v1/images/", params={"page_size": 500}, headers=headers).status_code == 200
    assert http.get("/openverse/v1/images/", headers={"authorization": "Bearer wrong"}).status_code == 401


def test_foreign_items(call: Call, http: httpx.Client, set_sandbox: Callable[..., None]) -> None:
    set_sandbox(openverse={"foreign_items": True})
    items = call("openverse", SEARCH, page_size=20).json()["results"]
    items += call("openverse", SEARCH, page_size=20, page=2).json()["results"]
    assert "by-nc" in {item["license"] for item in items}
    assert None in {item["width"] for item in items}
    [drawing] = [item for item in items if item["url"].endswith(".svg")]
    assert http.get(drawing["url"]).headers["content-type"] == "image/svg+xml"
