"""Notices: in the form that each listener wants, tried again, given up late, and never with a secret in them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, get_args

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from structlog.testing import capture_logs

from daemon.application import Application
from daemon.notify.notices import Notice, NoticeKind, NotifyFormat, message_for
from daemon.notify.webhook import QUEUE_NOTICES, Webhook
from fake_clock import FakeClock
from trainer.publishing.registry import Registry
from utils.config.notify import Notify
from utils.config_loader import Config, load_config
from utils.errors import ConfigError

SECRET = "a-secret-path-of-the-webhook"
NOTICE = Notice("rejected", "Not <published>", "worse & slower", "2026-01-01T00:00:00Z", {"run_id": "train-1"})
WAIT_SECONDS = 10.0


class Listener(ThreadingHTTPServer):
    """Answers with `statuses`, then 200; keeps what was posted."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.statuses: list[int] = []
        self.posted: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.hold = threading.Event()
        self.hold.set()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/{SECRET}"

    def wait_for(self, number: int) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while len(self.posted) < number:
            assert time.monotonic() < deadline, self.posted
            time.sleep(0.005)


class _Handler(BaseHTTPRequestHandler):
    server: Listener

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.hold.wait(WAIT_SECONDS)
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("location", "/elsewhere")
        self.send_header("content-length", "0")
        self.end_headers()
        self.server.posted.append((self.path, json.loads(body), dict(self.headers)))

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as listener:
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield listener
        listener.shutdown()


def webhook_to(listener: Listener, *secrets: str, pauses: tuple[float, ...] = (0.01, 0.01)) -> Webhook:
    settings = Notify(url=SecretStr(listener.url))
    return Webhook(lambda: settings, lambda: [*secrets, listener.url], pauses=pauses)


def until(logged: list[Any], event: str) -> Any:
    deadline = time.monotonic() + WAIT_SECONDS
    while not (found := [entry for entry in logged if entry["event"] == event]):
        assert time.monotonic() < deadline, logged
        time.sleep(0.005)
    return found[0]


def test_a_notice_arrives_as_json(listener: Listener) -> None:
    webhook = webhook_to(listener)
    webhook.send(NOTICE)
    listener.wait_for(1)
    webhook.stop()
    [(path, body, headers)] = listener.posted
    assert path == f"/{SECRET}"
    assert body == {
        "event": "rejected",
        "title": "Not <published>",
        "message": "worse & slower",
        "time": "2026-01-01T00:00:00Z",
        "details": {"run_id": "train-1"},
    }
    assert "authorization" not in {name.lower() for name in headers}


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_what_may_pass_is_tried_again(listener: Listener, status: int) -> None:
    listener.statuses = [status, status]
    webhook = webhook_to(listener)
    webhook.send(NOTICE)
    listener.wait_for(3)
    webhook.stop()


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404])
def test_what_will_not_pass_is_given_up_and_redirects_are_not_followed(listener: Listener, status: int) -> None:
    listener.statuses = [status]
    webhook = webhook_to(listener)
    with capture_logs() as logged:
        webhook.send(NOTICE)
        assert until(logged, "notice_dropped")["reason"] == f"HTTP {status}"
    webhook.stop()
    assert [path for path, _, _ in listener.posted] == [f"/{SECRET}"]


def test_nobody_there_is_tried_again_then_dropped_and_the_next_one_gets_its_turn(listener: Listener) -> None:
    settings = {"now": Notify(url=SecretStr("http://127.0.0.1:9/nobody"))}
    webhook = Webhook(lambda: settings["now"], list, pauses=(0.01, 0.01))
    with capture_logs() as logged:
        webhook.send(NOTICE)
        assert until(logged, "notice_dropped")["attempts"] == 3
    settings["now"] = Notify(url=SecretStr(listener.url))  # a reload
    webhook.send(NOTICE)
    listener.wait_for(1)
    webhook.stop()


def test_sending_never_blocks_and_the_queue_is_bounded(listener: Listener) -> None:
    listener.hold.clear()
    webhook = webhook_to(listener)
    began = time.monotonic()
    for _ in range(10 * QUEUE_NOTICES):
        webhook.send(NOTICE)
    assert time.monotonic() - began < 1.0
    listener.hold.set()
    listener.wait_for(QUEUE_NOTICES)
    webhook.stop()
    assert len(listener.posted) <= QUEUE_NOTICES + 1


def test_a_stop_lets_what_was_just_said_go_out(listener: Listener) -> None:
    webhook = webhook_to(listener)
    for _ in range(3):
        webhook.send(NOTICE)
    webhook.stop()
    assert len(listener.posted) == 3
    webhook.send(NOTICE)  # nobody is there any more to deliver it
    assert len(listener.posted) == 3


def test_no_secret_leaves_in_a_notice_or_reaches_the_log(listener: Listener) -> None:
    listener.statuses = [500]
    webhook = webhook_to(listener, "the-api-key-of-a-source")
    leaky = Notice(
        "source_failing", "the-api-key-of-a-source", f"GET {listener.url} failed", "t", {"x": "the-api-key-of-a-source"}
    )
    with capture_logs() as logged:
        webhook.send(leaky)
        until(logged, "notice_sent")
    webhook.stop()
    for _, body, _ in listener.posted:
        assert "the-api-key-of-a-source" not in json.dumps(body)
        assert SECRET not in json.dumps(body)
    assert SECRET not in str(logged)


def test_without_an_address_nothing_happens() -> None:
    webhook = Webhook(Notify, list)
    webhook.send(NOTICE)
    assert threading.active_count() < 50
    assert not [thread for thread in threading.enumerate() if thread.name == "webhook"]
    webhook.stop()


def test_each_listener_gets_its_form() -> None:
    url, body = message_for("ntfy", "https://user@ntfy.example/base/exposr?auth=x", NOTICE)
    assert url == "https://user@ntfy.example/base/?auth=x"
    assert (body["topic"], body["title"], body["message"]) == ("exposr", NOTICE.title, NOTICE.message)
    assert body["priority"] == 3
    assert message_for("slack", "u", NOTICE) == ("u", {"text": "*Not &lt;published&gt;*\nworse &amp; slower"})
    assert message_for("matrix", "u", NOTICE)[1]["text"] == "Not <published>: worse & slower"


class Documented(BaseModel):
    """A body as its listener documents it: nothing else, nothing longer."""

    model_config = ConfigDict(extra="forbid", strict=True)


class NtfyBody(Documented):
    """docs.ntfy.sh/publish/#publish-as-json, and the limits of its server."""

    topic: str = Field(pattern=r"^[-_A-Za-z0-9]{1,64}$")
    title: str
    message: str = Field(min_length=1)
    tags: list[str]
    priority: Literal[1, 2, 3, 4, 5]


class SlackBody(Documented):
    """An incoming webhook of Slack, Mattermost or Rocket.Chat: `&`, `<` and `>` mean something to it."""

    text: str = Field(min_length=1, max_length=4000, pattern=r"^([^&<>]|&(amp|lt|gt);)*$")


class HookshotBody(Documented):
    """A generic webhook of matrix-hookshot."""

    text: str = Field(min_length=1)
    html: str = Field(pattern=r"^<strong>[^<>]*</strong><br>[^<>]*$")
    username: str


@pytest.mark.parametrize("text", ["worse", "<b>&amp; *slower*</b>\n" * 90, "\N{PILE OF POO}" * 2000, "é" * 2000])
@pytest.mark.parametrize(("form", "documented"), [("ntfy", NtfyBody), ("slack", SlackBody), ("matrix", HookshotBody)])
def test_a_body_is_what_its_listener_documents(form: NotifyFormat, documented: type[Documented], text: str) -> None:
    for kind in get_args(NoticeKind):
        notice = Notice(kind, text[:100], text, "2026-01-01T00:00:00Z", {}).without([])
        _, body = message_for(form, "https://host.example/exposr", notice)
        documented.model_validate(body)
        if form == "ntfy":
            assert len(json.dumps(body, ensure_ascii=False).encode()) <= 4096


@pytest.mark.parametrize("path", ["", "/", "/two words", "/exposr!", "/" + "x" * 65])
def test_ntfy_without_a_topic_is_refused_at_the_start(path: str) -> None:
    environ = {"EXPOSR_NOTIFY__URL": f"https://ntfy.example{path}", "EXPOSR_NOTIFY__FORMAT": "ntfy"}
    with pytest.raises(ConfigError, match="topic") as refused:
        load_config(environ=environ)
    assert "ntfy.example" not in str(refused.value)


def test_the_service_tells_what_is_in_service(listener: Listener, config: Config, fake_clock: FakeClock) -> None:
    told = config.model_copy(update={"notify": Notify(url=SecretStr(listener.url))})
    application = Application(told, fake_clock)
    registry = Registry(config.storage.models_path, fake_clock)
    for version in ("v1", "v2"):
        staged = registry.stage("vit", version)
        (staged / "weights.pt").write_bytes(version.encode())
        registry.publish(staged, {"model": "vit", "version": version, "timestamp": "2026-01-01T00:00:00Z"})
        application.tick()
    assert application.models.rollback("vit").accepted
    application.plan_runs(start=False)  # as `exposr-trainer status` does: it tells nobody
    listener.wait_for(3)
    application.close()
    assert [body["event"] for _, body, _ in listener.posted] == ["published", "published", "moved"]
    assert listener.posted[-1][1]["title"] == "vit/v1 is in service"


@pytest.mark.parametrize("url", [f"ftp://host/{SECRET}", f"{SECRET}", f"http:///{SECRET}"])
def test_a_wrong_address_is_named_and_never_shown(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config(environ={"EXPOSR_NOTIFY__URL": url})
    assert "notify.url" in str(refused.value)
    assert SECRET not in str(refused.value)


def test_the_address_is_in_no_dump_and_no_repr() -> None:
    config: Config = load_config(environ={"EXPOSR_NOTIFY__URL": f"https://hooks.example/{SECRET}"})
    assert SECRET not in repr(config)
    assert SECRET not in config.model_dump_json()
    assert config.notify.url is not None
    assert config.notify.url.get_secret_value().endswith(SECRET)
