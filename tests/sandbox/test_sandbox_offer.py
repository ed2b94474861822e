"""What the sandbox offers: the folder's pictures, drawn ones, a journal, settings that can be changed while it runs."""

from __future__ import annotations

import hashlib
import io
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from pydantic import BaseModel

from scrapers.sandbox.app import create_sandbox
from scrapers.sandbox.pictures import collect_pictures, draw
from scrapers.sandbox.server import SandboxServer, run_sandbox
from scrapers.sandbox.settings import Civitai, Fault, Openverse, Pexels, SandboxSettings, Unsplash
from utils.errors import OperatorError

Call = Callable[..., httpx.Response]


def test_every_file_is_offered_once_with_its_own_bytes(
    pictures: Path, sandbox: SandboxServer, http: httpx.Client, call: Call
) -> None:
    urls = [photo["urls"]["raw"] for photo in call("unsplash", "/photos", per_page=30).json()]
    urls += [photo["src"]["original"] for photo in call("pexels", "/v1/curated", per_page=80).json()["photos"]]
    served = sorted(hashlib.sha256(http.get(url).content).hexdigest() for url in urls)
    files = [path for path in (pictures / "real").rglob("*") if path.suffix != ".txt" and path.is_file()]
    assert served == sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)


def test_ids_survive_a_restart_and_a_move_of_the_folder(pictures: Path, tmp_path: Path, call: Call) -> None:
    (tmp_path / "real").mkdir()
    for path in (pictures / "real").rglob("*.jpg"):
        (tmp_path / "real" / f"renamed {path.name}").write_bytes(path.read_bytes())
    before = {photo["id"] for photo in call("unsplash", "/photos", per_page=30).json()}
    with SandboxServer(tmp_path) as other:
        answer = httpx.get(f"{other.url}/unsplash/photos?per_page=30", headers={"authorization": "Client-ID sandbox"})
    assert {photo["id"] for photo in answer.json()} < before


def test_openverse_offers_every_photo_unless_it_has_a_share_of_its_own(pictures: Path) -> None:
    offer = collect_pictures(pictures, SandboxSettings(photo_sources=("pexels",)))
    assert [len(offer[name]) for name in ("unsplash", "openverse", "pexels")] == [0, 36, 36]
    shared = collect_pictures(pictures, SandboxSettings(photo_sources=("pexels", "openverse")))
    assert len(shared["pexels"]) + len(shared["openverse"]) == 36


def test_drawn_pictures_are_distinct_and_always_the_same(
    tmp_path: Path, http: httpx.Client, set_sandbox: Callable[..., None]
) -> None:
    offer = collect_pictures(tmp_path, SandboxSettings(synthetic=240))
    everything = [picture for pictures in offer.values() for picture in pictures]
    assert len(everything) == len({picture.key for picture in everything}) == 240
    assert sum(picture.label == "ai_generated" for picture in everything) == 120
    bytes_of = {picture.read() for picture in everything}
    assert len(bytes_of) == 240
    assert {Image.open(io.BytesIO(data)).format for data in bytes_of} == {"JPEG", "PNG", "WEBP"}
    first = everything[0]
    assert draw(first.key, first.media_type) == draw(first.key, first.media_type)


def test_an_empty_folder_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="no picture"):
        create_sandbox(tmp_path)


def test_a_taken_port_is_refused_in_words(pictures: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OperatorError, match="cannot be used"):
        run_sandbox("127.0.0.1", taken.getsockname()[1], pictures)


def test_double_slashes_and_slashes_at_the_end_are_tolerated(http: httpx.Client) -> None:
    for path in ("/pexels/v1//curated", "/pexels/v1/curated/", "/pexels//v1///curated//"):
        assert http.get(path, headers={"authorization": "sandbox"}).status_code == 200


def test_urls_name_the_server_as_it_was_called_or_as_it_was_told(
    http: httpx.Client, call: Call, set_sandbox: Callable[..., None]
) -> None:
    headers = {"authorization": "sandbox", "host": "pictures.test:81"}
    assert (
        http.get("/pexels/v1/curated", headers=headers)
        .json()["photos"][0]["src"]["tiny"]
        .startswith("http://pictures.test:81/")
    )
    set_sandbox(public_url="http://10.1.2.3/")
    assert call("pexels", "/v1/curated").json()["photos"][0]["src"]["tiny"].startswith("http://10.1.2.3/images/pexels/")


def test_the_journal_tells_requests_keys_hosts_and_concurrency_but_no_key(http: httpx.Client, call: Call) -> None:
    photo = call("unsplash", "/photos", per_page=1).json()[0]
    http.get("/unsplash/photos", params={"client_id": "my-real-key", "page": 2})
    http.get(photo["urls"]["raw"])
    shown = http.get("/control", params={"log": 2, "paths": "true"})
    counters = shown.json()["counters"]
    assert counters["requests"] == {"unsplash api": 2, "unsplash image": 1}
    assert counters["keys"] == {"unsplash api sandbox": 1, "unsplash api wrong": 1, "unsplash image anonymous": 1}
    assert counters["statuses"] == {"unsplash api 200": 1, "unsplash api 401": 1, "unsplash image 200": 1}
    assert counters["peak_in_flight"] == {"unsplash api": 1, "unsplash image": 1}
    assert list(counters["hosts"]) == [http.base_url.netloc.decode()]
    assert counters["paths"]["/unsplash/photos"] == 2
    assert [entry["kind"] for entry in shown.json()["log"]] == ["api", "image"]
    assert "my-real-key" not in shown.text
    http.post("/control/reset")
    assert http.get("/control").json()["counters"]["requests"] == {}


def test_the_address_itself_says_what_is_offered(http: httpx.Client) -> None:
    body = http.get("/").json()
    assert body["stands_for"]["https://api.pexels.com"] == f"{str(http.base_url).rstrip('/')}/pexels"
    assert body["pictures"]["openverse"] == body["pictures"]["unsplash"] + body["pictures"]["pexels"] == 36


def test_api_answers_are_compressed_for_those_who_ask_and_images_are_not(http: httpx.Client, call: Call) -> None:
    answer = call("pexels", "/v1/curated")
    assert answer.headers["content-encoding"] == "gzip"
    image = http.get(answer.json()["photos"][0]["src"]["original"])
    assert "content-encoding" not in image.headers
    plain = http.get("/pexels/v1/curated", headers={"authorization": "sandbox", "accept-encoding": "identity"})
    assert plain.content == answer.content


@pytest.mark.parametrize(
    "query", ["w=99999999999", "w=0", "w=%C2%B2", "q=0", "fit=crop&w=9000&h=1&dpr=9", "fm=bmp", "h=-5"]
)
def test_absurd_sizes_are_answered_and_stay_small(http: httpx.Client, call: Call, query: str) -> None:
    photo = call("unsplash", "/photos", per_page=1).json()[0]
    answer = http.get(photo["urls"]["raw"].partition("?")[0] + "?" + query)
    with Image.open(io.BytesIO(answer.content)) as image:
        assert max(image.size) <= 4096


@pytest.mark.parametrize("number", ["9" * 5000, "-1", "0", "1e3", "x", "²"])
def test_absurd_numbers_are_no_server_errors(call: Call, number: str) -> None:
    for source, path, names in (
        ("unsplash", "/search/photos", ("page", "per_page")),
        ("unsplash", "/photos/random", ("count",)),
        ("pexels", "/v1/curated", ("page", "per_page")),
        ("openverse", "/v1/images", ("page", "page_size")),
        ("civitai", "/api/v1/images", ("limit", "page", "imageId", "browsingLevel")),
    ):
        assert all(call(source, path, query="x", **{name: number}).status_code < 500 for name in names)
    for cursor in (f"feed:{number}:{number}", f"{number}|{number}", number):
        assert call("civitai", "/api/v1/images", cursor=cursor).status_code in (200, 400)


def test_settings_change_while_it_runs_and_what_is_not_named_stays(http: httpx.Client) -> None:
    http.post("/control", json={"pexels": {"hourly_limit": 7}})
    settings = http.post("/control", json={"pexels": {"odd_items": True}}).json()["settings"]
    assert (settings["pexels"]["hourly_limit"], settings["pexels"]["odd_items"]) == (7, True)


@pytest.mark.parametrize(
    "wrong", [{"pexel": {}}, {"pexels": {"hourly_limit": -1}}, [1], {"faults": [{"kind": "meteor"}]}]
)
def test_wrong_settings_are_refused_and_change_nothing(http: httpx.Client, wrong: Any) -> None:
    before = http.get("/control").json()["settings"]
    answer = http.post("/control", json=wrong)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_settings")
    assert http.get("/control").json()["settings"] == before
    assert http.post("/control", content=b"{").status_code == 400


@pytest.mark.parametrize("model", [SandboxSettings, Unsplash, Pexels, Civitai, Openverse, Fault])
def test_the_page_about_the_sandbox_names_every_setting(model: type[BaseModel]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text(encoding="utf-8")
    assert [name for name in model.model_fields if not re.search(rf"\b{name}\b", page)] == []
