"""Asking an endpoint: a real HTTP server, which answers, hesitates, refuses, lies and dies."""

import email.utils
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from teaching_server import TeachingServer, chat, cut, status, teaching, text_instead, waiting_for

from benchmarks.errors import TrimfitError
from optimizer.distillation.black_box import Endpoint, teacher_named
from optimizer.distillation.black_box.cache import AnswerCache
from optimizer.distillation.black_box.client import REFUSED, Client
from optimizer.distillation.black_box.estimate import tokens_in
from optimizer.distillation.black_box.label_set import LabelSet
from optimizer.distillation.black_box.pace import Pace, StoppedError, back_off
from optimizer.distillation.black_box.said import OUTSIDE, Said

LABELS = LabelSet(("bad", "good"), ("bad", "good"))
KEY = "sk-very-secret"


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now, self.slept = 100.0, []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def answer(text: str) -> dict:
    """{"label": ..} for texts of a plain API."""
    return {"label": "good" if "fine" in text else "bad", "score": 0.9}


@pytest.fixture
def server() -> Iterator[TeachingServer]:
    with teaching(answer) as running:
        yield running


@pytest.fixture
def cache(tmp_path: Path) -> AnswerCache:
    return AnswerCache(tmp_path / "teachers.sqlite")


@pytest.fixture
def fake() -> FakeTime:
    return FakeTime()


def client(server: TeachingServer, cache: AnswerCache, fake: FakeTime, say: object = print, **fields: object) -> Client:
    endpoint = Endpoint.of(**{"url": server.url, "workers": 1, "tries": 4, **fields})
    pace = Pace(endpoint.per_minute, clock=fake.clock, sleep=fake.sleep)
    return Client(endpoint, LABELS, cache=cache, pace=pace, say=say)


def labels_of(answers: list) -> list:
    return [each.label if isinstance(each, Said) else each for each in answers]


# what is asked


def test_a_text_is_asked_about_once_however_often_it_stands_there(
    server: TeachingServer, cache: AnswerCache, fake: FakeTime
) -> None:
    texts = ["fine", "dull", "fine", "fine"]
    assert labels_of(client(server, cache, fake).ask(texts)) == [1, 0, 1, 1]
    assert labels_of(client(server, AnswerCache(cache.path), fake).ask(texts)) == [1, 0, 1, 1]
    assert sorted(server.answered) == ["dull", "fine"]


def test_another_model_prompt_label_or_address_is_another_question(cache: AnswerCache, fake: FakeTime) -> None:
    with teaching(lambda text: chat("good")) as server:
        same = {"model": "a", "prompt": "{labels}?"}
        for change in ({}, {}, {"model": "b"}, {"prompt": "which of {labels}?"}, {"more": {"seed": 1}}):
            client(server, cache, fake, **{**same, **change}).ask(["fine"])
        client(server, cache, fake, **same, url=f"{server.url}/v2").ask(["fine"])
        other = Client(Endpoint.of(url=server.url, **same), LabelSet(("bad", "good"), ("poor", "good")), cache=cache)
        other.ask(["fine"])
        assert len(server.answered) == 6


def test_the_key_comes_from_the_environment_and_is_kept_nowhere(
    server: TeachingServer, cache: AnswerCache, fake: FakeTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setenv("TRIMFIT_TEACHER_KEY", KEY)
    mine = client(server, cache, fake, say=said.append)
    mine.check(["fine"])
    mine.ask(["fine"])
    assert server.requests[0][1]["authorization"] == f"Bearer {KEY}"
    server.acts = [status(401, f"invalid key {KEY}")]
    with pytest.raises(TrimfitError, match=r"401: invalid key \*\*\*.*variable TRIMFIT_TEACHER_KEY") as wrong:
        mine.ask(["dull"])
    cache.close()
    assert KEY not in f"{wrong.value} {said} {mine.endpoint!r} {mine.name}"
    assert all(KEY.encode() not in file.read_bytes() for file in cache.path.parent.iterdir())


def test_a_header_of_ones_own_carries_a_key_of_ones_own(
    server: TeachingServer, cache: AnswerCache, fake: FakeTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {"key_variable": "OTHER_KEY", "key_header": "api-key: {key}"}
    with pytest.raises(TrimfitError, match="environment variable OTHER_KEY is not set"):
        client(server, cache, fake, **fields)
    monkeypatch.setenv("OTHER_KEY", KEY)
    client(server, cache, fake, **fields).ask(["fine"])
    assert server.requests[0][1]["api-key"] == KEY


def test_a_request_is_shaped_and_its_answer_found_as_the_endpoint_is_described(
    cache: AnswerCache, fake: FakeTime, tmp_path: Path
) -> None:
    described = tmp_path / "endpoint.json"
    result = [{"sentiment": "x"}, {"labels": ["good", "bad"], "scores": [0.6, 0.4]}]
    with teaching(lambda text: {"result": result}) as s:
        request = {"text": "{text}", "inputs": "Review: {text}", "parameters": {"candidate_labels": "{labels}"}}
        described.write_text(json.dumps({"url": s.url, "request": request, "answer": "result.1", "workers": 1}))
        endpoint = teacher_named(described)
        (said,) = Client(endpoint, LABELS, cache=cache).ask(["fine"])
        assert s.requests[0][2] == {
            "text": "fine",
            "inputs": "Review: fine",
            "parameters": {"candidate_labels": ["bad", "good"]},
        }
    np.testing.assert_allclose(said.distribution, [0.4, 0.6])


# what a server may do


@pytest.mark.parametrize(
    "acts",
    [
        [status(500)],
        [status(503), status(502)],
        [cut],
        [text_instead],
        [cut, status(429), text_instead],
    ],
)
def test_what_may_pass_is_tried_again_after_a_while(
    server: TeachingServer, cache: AnswerCache, fake: FakeTime, acts: list
) -> None:
    server.acts = list(acts)
    assert labels_of(client(server, cache, fake).ask(["fine"])) == [1]
    assert len(server.requests) == len(acts) + 1
    assert len(fake.slept) == len(acts)
    assert all(0 <= slept <= 2**attempt for attempt, slept in enumerate(fake.slept))


def test_the_server_is_left_alone_for_as_long_as_it_asks(
    server: TeachingServer, cache: AnswerCache, fake: FakeTime
) -> None:
    server.acts = [status(429, Retry_After="7"), status(503, Retry_After=email.utils.formatdate(time.time() + 30))]
    assert labels_of(client(server, cache, fake).ask(["fine"])) == [1]
    assert fake.slept[0] == 7
    assert 25 < fake.slept[1] <= 30


def test_a_server_that_wants_hours_is_asked_another_day(
    server: TeachingServer, cache: AnswerCache, fake: FakeTime
) -> None:
    server.acts = [None, status(429, "quota", Retry_After="7200")]
    with pytest.raises(TrimfitError, match=r"left alone for 7200 s .429: quota.: .* is kept"):
        client(server, cache, fake).ask(["fine", "dull"])
    assert not fake.slept


def test_too_many_requests_for_ever_ends_in_one_line_and_nothing_is_lost(
    server: TeachingServer, cache: AnswerCache, fake: FakeTime
) -> None:
    server.acts = [None, *[status(429, "slow down")] * 4]
    with pytest.raises(TrimfitError, match=r"gave no answer in 4 tries .429: slow down.: .* goes on from there"):
        client(server, cache, fake).ask(["fine", "dull"])
    assert labels_of(client(server, cache, fake).ask(["fine", "dull"])) == [1, 0]
    assert server.answered == ["fine", "dull"]


def test_who_is_not_let_in_is_told_at_once(server: TeachingServer, cache: AnswerCache, fake: FakeTime) -> None:
    for code, words in ((401, "put a valid key into"), (403, "put a valid key into"), (404, "check the address")):
        server.acts = [status(code, "no")]
        with pytest.raises(TrimfitError, match=f"refuses to answer .{code}: no.: {words}"):
            client(server, cache, fake).ask([f"text {code}"])
    assert len(server.requests) == 3


def test_a_key_never_follows_a_redirect(
    server: TeachingServer, cache: AnswerCache, fake: FakeTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIMFIT_TEACHER_KEY", KEY)
    with teaching(answer) as elsewhere:
        server.acts = [status(307, Location=f"{elsewhere.url}/stolen")]
        with pytest.raises(TrimfitError, match=f"redirects to {elsewhere.url}/stolen"):
            client(server, cache, fake).ask(["fine"])
        assert not elsewhere.requests


def test_nobody_there_is_said_before_anything_is_asked(cache: AnswerCache) -> None:
    with teaching(answer) as gone:
        endpoint = Endpoint.of(url=gone.url)
    with pytest.raises(TrimfitError, match=r"http://127.0.0.1:\d+ cannot be reached"):
        Client(endpoint, LABELS, cache=cache).check(["fine"])


def test_a_text_that_is_refused_is_left_out_and_all_of_them_are_an_error(
    server: TeachingServer, cache: AnswerCache, fake: FakeTime
) -> None:
    server.acts = [None, status(400, "filtered"), None]
    assert labels_of(client(server, cache, fake).ask(["fine", "foul", "dull"])) == [1, REFUSED, 0]
    server.acts = [status(422, "unknown field text")] * 9
    with pytest.raises(TrimfitError, match=r"refused all of the first 3 texts .422: unknown field text.: "):
        client(server, cache, fake).ask([f"text {n}" for n in range(9)])


def test_answers_outside_of_the_labels_are_counted_and_when_most_are_nobody_is_asked_further(
    cache: AnswerCache, fake: FakeTime
) -> None:
    with teaching(lambda text: {"label": "great" if "fine" in text else "bad"}) as server:
        assert labels_of(client(server, cache, fake).ask(["fine", "dull", "flat"])) == [OUTSIDE, 0, 0]
        with pytest.raises(TrimfitError, match=r'20 of the first 20 answers .* bad, good, the last was .*"great"'):
            client(server, cache, fake).ask([f"fine {n}" for n in range(100)])
        assert len(server.answered) <= 3 + 20 + 1


# probabilities of a chat


def test_logprobs_become_probabilities_where_there_are_some(cache: AnswerCache, fake: FakeTime) -> None:
    replies = {"a": chat("good", {"good": 0.75, "bad": 0.25}), "b": chat("good")}
    with teaching(replies.__getitem__) as server:
        sure, bare = client(server, cache, fake, model="m", url=f"{server.url}/v1").ask(["a", "b"])
        assert server.requests[0][0] == "/v1/chat/completions"
    np.testing.assert_allclose(sure.distribution, [0.25, 0.75])
    np.testing.assert_allclose(bare.distribution, [0.05, 0.95])


def test_a_server_that_takes_no_request_for_logprobs_is_asked_without(cache: AnswerCache, fake: FakeTime) -> None:
    said: list[str] = []
    with teaching(lambda text: chat("good")) as server:
        server.always = lambda body: status(400, "`logprobs` is not supported") if "logprobs" in body else None
        found = client(server, cache, fake, say=said.append, model="m").ask(["a", "b", "c"])
        assert labels_of(found) == [1, 1, 1]
        assert len(server.requests) == 4
    assert any("asked for labels alone" in line for line in said)


# how fast


def test_calls_are_spread_evenly_over_a_minute(fake: FakeTime) -> None:
    pace, at = Pace(20, clock=fake.clock, sleep=fake.sleep), []
    for _ in range(4):
        pace.turn()
        at.append(fake.now - 100)
    assert at == [0, 3, 6, 9]
    pace.hold(10)
    pace.turn()
    pace.turn()
    assert [fake.now - 100] == [22], "nobody before 19, and then every 3 seconds again"


def test_who_waits_can_be_stopped() -> None:
    pace = Pace(1, clock=lambda: 0.0, sleep=lambda seconds: True)
    pace.turn()
    with pytest.raises(StoppedError):
        pace.turn()


def test_waits_grow_twofold_up_to_a_minute_and_are_drawn_from_nought() -> None:
    longest = [back_off(attempt, draw=lambda low, high: high) for attempt in range(9)]
    assert longest == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert back_off(5, draw=lambda low, high: low) == 0


def test_several_are_asked_at_once_and_none_twice(server: TeachingServer, cache: AnswerCache) -> None:
    endpoint = Endpoint.of(url=server.url, workers=8)
    texts = [f"{'fine' if n % 3 else 'dull'} {n}" for n in range(60)]
    found = Client(endpoint, LABELS, cache=cache).ask(texts)
    assert labels_of(found) == [int(n % 3 > 0) for n in range(60)]
    assert sorted(server.answered) == sorted(texts)


# what it costs


def test_the_cost_is_said_before_the_first_call_and_known_answers_are_free(
    server: TeachingServer, cache: AnswerCache, fake: FakeTime
) -> None:
    said: list[str] = []
    texts = ["fine " * 100, "dull " * 100, "flat " * 100]
    client(server, cache, fake).ask(texts[:1])
    asking = client(server, cache, fake, say=said.append, price=(1000.0, 0.0), budget=1000)
    estimate = asking.estimate(texts)
    assert (estimate.calls, estimate.known) == (2, 1)
    assert estimate.spending.asked == 2 * tokens_in(json.dumps({"text": texts[1]}))
    assert estimate.spending.cost == pytest.approx(estimate.spending.asked * 1000 / 1e6)
    asking.check(texts)
    assert said == [
        f"teacher {server.url}: 2 calls to make, 1 answers known, about 256 tokens asked and 4 answered, $0.26"
    ]
    assert len(server.requests) == 1


def test_more_than_the_budget_is_refused_before_the_first_call(
    server: TeachingServer, cache: AnswerCache, fake: FakeTime
) -> None:
    asking = client(server, cache, fake, price=(10, 10), budget=0.001)
    with pytest.raises(TrimfitError, match=r"would cost about \$0.01 for 9 calls, .* --teacher-budget 0.001"):
        asking.check([f"fine {'film ' * 100}{n}" for n in range(9)])
    assert not server.requests


def test_a_budget_that_was_estimated_too_low_holds_all_the_same(cache: AnswerCache, fake: FakeTime) -> None:
    with teaching(lambda text: chat("good", usage=(1000, 0))) as server:
        asking = client(server, cache, fake, model="m", price=(1.0, 1.0), budget=0.0035)
        asking.check([f"{n}" for n in range(9)])
        with pytest.raises(TrimfitError, match=r"has cost \$0.00 for 4 calls.*is kept"):
            asking.ask([f"{n}" for n in range(9)])
        assert len(server.answered) <= 5, "one more may be on its way"


def test_tokens_are_a_quarter_of_latin_letters_and_each_other_one() -> None:
    assert tokens_in("abcdefgh") == 2
    assert tokens_in("abcde") == 2
    assert tokens_in("ሰላም") == 3


# what is lost when it dies: nothing

ASK = """
import sys
from pathlib import Path
from optimizer.distillation.black_box import Endpoint
from optimizer.distillation.black_box.cache import AnswerCache
from optimizer.distillation.black_box.client import Client
from optimizer.distillation.black_box.label_set import LabelSet
url, cache, workers = sys.argv[1:]
labels = LabelSet(("bad", "good"), ("bad", "good"))
client = Client(Endpoint.of(url=url, workers=int(workers)), labels, cache=AnswerCache(Path(cache)))
print(sum(said.label for said in client.ask([f"fine {n}" for n in range(40)])))
"""


def test_killed_in_the_middle_and_started_again_pays_for_nothing_twice(tmp_path: Path) -> None:
    stuck = threading.Event()
    with teaching(answer) as server:
        server.acts = [None] * 17 + [waiting_for(stuck)] * 3
        command = [sys.executable, "-c", ASK, server.url, str(tmp_path / "cache.sqlite"), "3"]
        first = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while len(server.requests) < 20 and time.monotonic() < deadline:
            time.sleep(0.02)
        first.send_signal(signal.SIGKILL)
        first.wait()
        stuck.set()
        assert len(server.answered) == 17
        again = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}
        )
        assert again.stdout.split() == ["40"]
        assert sorted(server.answered) == sorted(f"fine {n}" for n in range(40))


def test_answers_that_are_on_their_way_when_another_fails_are_kept(cache: AnswerCache) -> None:
    failed = threading.Event()

    def slow(handler: object) -> bool:
        failed.wait(10)
        return False

    def fails(handler: object) -> bool:
        failed.set()
        return status(401)(handler)

    with teaching(answer) as server:
        server.acts = [slow, fails]
        asking = Client(Endpoint.of(url=server.url, workers=2), LABELS, cache=cache)
        with pytest.raises(TrimfitError, match="401"):
            asking.ask(["fine", "dull"])
        assert len(server.answered) == 1
        asking.ask(["fine", "dull"])
        assert sorted(server.answered) == ["dull", "fine"]


def test_a_file_that_is_no_cache_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken").write_text("not a database at all, " * 50)
    with pytest.raises(TrimfitError, match="broken is no cache of answers"):
        AnswerCache(tmp_path / "broken")


# endpoints as people write them


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"url": "ftp://x"}, "url: expected http"),
        ({"url": "https://me:secret@x"}, "no user or password"),
        ({"url": "https://x/v1"}, "give --teacher-model"),
        ({"url": "https://x", "budget": 1}, "give --teacher-price"),
        ({"url": "https://x", "price": ("a", "b")}, r"price.0: .* \(got 'a'\)"),
        ({"url": "https://x", "per_minute": 0}, "per_minute: .*greater than 0"),
        ({"url": "https://x", "promt": "?"}, "promt: Extra inputs"),
        ({"url": "https://x", "request": {"q": 1}}, "{text} somewhere"),
        ({"url": "https://x", "key_header": "Bearer"}, "Authorization: Bearer {key}"),
    ],
)
def test_an_endpoint_that_cannot_be_is_named_by_its_field(fields: dict, words: str) -> None:
    with pytest.raises(TrimfitError, match=words) as wrong:
        Endpoint.of(**fields)
    assert "secret" not in str(wrong.value)
    assert "\n" not in str(wrong.value)


def test_a_teacher_is_an_address_a_description_or_files(tmp_path: Path) -> None:
    described = tmp_path / "endpoint.json"
    described.write_text('{"url": "https://x/v1", "model": "a", "per_minute": 30}')
    assert teacher_named("https://x", model=None).url == "https://x"
    endpoint = teacher_named(described, model="b", rows=None)
    assert (endpoint.model, endpoint.per_minute, endpoint.rows) == ("b", 30, None)
    assert teacher_named(tmp_path / "answers.csv") == tmp_path / "answers.csv"
    with pytest.raises(TrimfitError, match="with --teacher-model, expected an address"):
        teacher_named(tmp_path / "answers.csv", model="b")


def test_what_is_shown_and_recorded_of_an_address_holds_no_query() -> None:
    endpoint = Endpoint.of(url="https://api.example.org/v1/?key=secret", model="m")
    assert endpoint.name == "m at https://api.example.org/v1"
    assert endpoint.address == "https://api.example.org/v1/chat/completions?key=secret"
    same = Endpoint.of(url="https://api.example.org/v1/?key=secret", model="m", workers=9, price=(1, 1))
    assert same.identity == endpoint.identity
    assert Endpoint.of(url="https://api.example.org/v1/?key=secret", model="n").identity != endpoint.identity
