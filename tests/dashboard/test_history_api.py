"""The history over HTTP, of a real history file."""

import asyncio
import csv
import io
import json
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pytest
from msgspec import structs

from headnod.dashboard.history_api import HistoryApi, LocalHistory
from headnod.dashboard.routing import Router
from headnod.outputs.history import HistoryFile
from headnod.outputs.history.records import write
from headnod.outputs.history.summaries import SONGS
from headnod.pipeline.estimate import Song
from support.history_database import START, remember

BERLIN = ZoneInfo("Europe/Berlin")
NOON = START.timestamp()
HOUR = timedelta(hours=1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "history.sqlite"


def song(start, minutes, genre):
    end = start + timedelta(minutes=minutes)
    return Song(start=start, end=end, genre=genre, stability=0.9, estimates=20 * minutes)


def keep(path, *songs):
    file = HistoryFile(path)
    with file.transaction() as db:
        write(db, [], songs)
    file.close()


def ask(path, part, *, node="kitchen", now=NOON, zone=UTC, **query):
    """Status, headers and body of an answer."""
    router, sent = Router(), []
    for each in HistoryApi({"kitchen": LocalHistory(path, zone=zone)}.get, now=lambda: now, zone=zone).endpoints:
        router.add(each.method, f"/{each.path}", each.handler)
    text = urlencode({key.rstrip("_"): value for key, value in query.items()}).encode()
    asked = f"/api/v1/listeners/{node}/{part}"
    scope = {"type": "http", "method": "GET", "path": asked, "query_string": text, "headers": []}

    async def send(message):
        sent.append(message)

    asyncio.run(router(scope, asyncio.Event().wait, send))
    start, *body = sent
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], headers, b"".join(each["body"] for each in body).decode()


def data(path, part, **query):
    status, _, body = ask(path, part, **query)
    assert status == 200, body
    return json.loads(body)


def test_songs_have_the_mean_confidence_of_their_estimates(path):
    remember(path, range(100))
    first, second = data(path, "songs", from_=NOON, to=NOON + 400)
    assert (first["genre"], first["start"], first["confidence"]) == ("blues", NOON, 0.8213)
    assert (second["genre"], second["stability"], second["tags"]) == ("classical", 1.0, [])
    assert data(path, "songs", from_=NOON + 190, to=NOON + 400) == [second]
    assert data(path, "songs", from_=NOON - 400, to=NOON) == []


def test_a_song_whose_estimates_are_deleted_has_no_confidence(path):
    keep(path, song(START, 4, "jazz"))
    assert data(path, "songs", from_=NOON, to=NOON + 60)[0]["confidence"] is None


def test_a_song_has_its_most_probable_tags(path):
    keep(path, structs.replace(song(START, 4, "jazz"), tags=("mellow", "guitar")), song(START + HOUR, 4, "pop"))
    assert [each["tags"] for each in data(path, "songs", from_=NOON, to=NOON + 7200)] == [["mellow", "guitar"], []]


def test_a_song_is_divided_between_the_hours_and_days_that_it_touches(path):
    late = datetime(2026, 11, 20, 22, 50, tzinfo=UTC)
    keep(path, song(late, 100, "jazz"), song(late + timedelta(minutes=101), 5, "rock"))
    begin = late.timestamp() - 3000
    hours = data(path, "hours", from_=begin, to=begin + 10_000)
    assert [(hour["start"] - begin, hour["seconds"]) for hour in hours] == [
        (0, {"jazz": 600.0}),
        (3600, {"jazz": 3600.0}),
        (7200, {"jazz": 1800.0, "rock": 300.0}),
    ]
    assert [hour["songs"] for hour in hours] == [1, 0, 1]
    days = data(path, "days", year=2026)
    assert [(day["date"], day["seconds"]["jazz"]) for day in days] == [("2026-11-20", 4200.0), ("2026-11-21", 1800.0)]
    seconds = [day["seconds"]["jazz"] for day in data(path, "days", year=2026, zone=BERLIN)]
    assert seconds == [600.0, 5400.0]


def test_hours_keep_their_order_when_daylight_saving_time_ends(path):
    # At 3:00 in Berlin it becomes 2:00 again: 01:00 UTC.
    night = datetime(2026, 10, 25, 0, 0, tzinfo=UTC)
    keep(path, song(night, 180, "jazz"))
    hours = data(path, "hours", zone=BERLIN, from_=night.timestamp(), to=night.timestamp() + 10_800)
    assert [hour["start"] - night.timestamp() for hour in hours] == [0, 3600, 7200]
    assert [hour["seconds"] for hour in hours] == [{"jazz": 3600.0}] * 3
    assert data(path, "days", zone=BERLIN, year=2026)[0]["seconds"] == {"jazz": 10_800.0}


def test_an_hour_begins_before_its_songs_where_the_clock_skips_a_part_of_it(path):
    # At 2:45 on the Chatham Islands it becomes 3:45: 14:00 UTC. The song begins at 3:50.
    skipped = datetime(2026, 9, 26, 14, 0, tzinfo=UTC)
    keep(path, song(skipped + timedelta(minutes=5), 60, "jazz"))
    begin = skipped.timestamp()
    hours = data(path, "hours", zone=ZoneInfo("Pacific/Chatham"), from_=begin, to=begin + 7_200)
    assert [(hour["start"] - begin, hour["seconds"]["jazz"]) for hour in hours] == [(-2700, 600.0), (900, 3000.0)]


def test_the_first_song_of_each_genre_is_listed_once(path):
    later = START + timedelta(days=3)
    keep(path, song(START, 3, "jazz"), song(later, 3, "jazz"), song(later + timedelta(hours=1), 3, "metal"))
    assert data(path, "firsts") == [
        {"genre": "metal", "time": (later + timedelta(hours=1)).timestamp()},
        {"genre": "jazz", "time": NOON},
    ]


def test_the_timeline_joins_estimates_of_one_genre_and_leaves_gaps(path):
    remember(path, [*range(100), *range(200, 220)])
    timeline = data(path, "timeline", from_=NOON, to=NOON + 3600)
    assert timeline["names"] == ["blues", "classical", "disco"]
    assert timeline["runs"] == [int(NOON), 177, 0, 0, 120, 1, 303, 57, 2]


def test_the_timeline_shows_songs_where_estimates_are_deleted(path):
    keep(path, song(START, 4, "jazz"))
    assert data(path, "timeline", from_=NOON, to=NOON + 3600) == {"names": ["jazz"], "runs": [int(NOON), 240, 0]}


def test_songs_can_be_downloaded_whole_as_csv_and_json(path):
    number = SONGS + 3
    keep(path, *(song(START + timedelta(minutes=5 * each), 4, "=jazz" if each else "rock") for each in range(number)))
    span = {"from_": NOON, "to": NOON + 300 * number}
    _, headers, body = ask(path, "songs", format="csv", download=1, **span)
    assert headers["content-disposition"] == 'attachment; filename="kitchen-songs.csv"'
    rows = list(csv.DictReader(io.StringIO(body)))
    assert [row["genre"] for row in rows] == ["rock", *["'=jazz"] * (number - 1)]
    assert datetime.fromisoformat(rows[-1]["start"]) == START + timedelta(minutes=5 * (number - 1))
    assert [each["genre"] for each in data(path, "songs", **span)] == ["rock", *["=jazz"] * (number - 1)]


def test_the_card_of_a_week_is_an_image_without_a_script(path):
    keep(path, song(START, 90, "jazz"), song(START + timedelta(hours=2), 30, "<script>&\"'"))
    _, headers, body = ask(path, "week.svg", now=NOON + 20_000, download=1)
    assert headers["content-type"] == "image/svg+xml"
    svg = ET.fromstring(body)  # noqa: S314 - made here
    texts = [text.text for text in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert {"kitchen", "14 to 20 November 2026", "jazz", "90 min", "<script>&\"'", "30 min"} <= set(texts)
    assert any(text.startswith("For the first time: ") for text in texts)
    assert {each.tag.rpartition("}")[2] for each in svg.iter()} <= {
        *("svg", "defs", "radialGradient", "stop", "rect", "text")
    }
    assert "http" not in body.replace("http://www.w3.org/2000/svg", "")


def test_a_week_without_music_has_a_card_too(path):
    keep(path, song(START, 90, "jazz"))
    assert "No music" in ask(path, "week.svg", now=NOON + 30 * 86_400)[2]


@pytest.mark.parametrize(
    ("part", "query", "words"),
    [
        ("songs", {"from_": "yesterday"}, "from: 'yesterday' is not a time"),
        ("songs", {"from_": "nan"}, "from: 'nan'"),
        ("songs", {"from_": 5e12}, "from: "),
        ("songs", {"from_": NOON, "to": NOON - 1}, f"from and to: {NOON:.0f} to {NOON - 1:.0f} is not a range of time"),
        ("songs", {"format": "xml"}, "format: 'xml' is neither json nor csv"),
        ("hours", {"from_": 0, "to": NOON}, "at most 62 days"),
        ("days", {"year": "MMXXVI"}, "year: 'MMXXVI'"),
    ],
)
def test_a_query_that_is_not_valid_is_refused_with_its_value(path, part, query, words):
    remember(path, range(5))
    status, _, body = ask(path, part, **query)
    assert (status, words in json.loads(body)["error"]) == (400, True)
    assert "inf days" not in body


def test_a_listener_without_a_history_is_an_error(path):
    assert ask(path, "songs", node="attic")[0] == 404
    status, _, body = ask(path, "songs")
    assert status == 503
    assert "there is no history" in json.loads(body)["error"]
