"""What a web radio's server may answer: redirects, playlists, refusals, and no answer at all."""

import contextlib

import pytest

from headnod.address import RefusedError, display_address, is_address
from headnod.audio.http_stream import open_stream
from headnod.errors import AudioError
from support.command_line import PATIENCE
from support.radio_server import answer, radio_server, redirect

TIMEOUT = PATIENCE


@pytest.fixture
def server():
    with radio_server() as running:
        yield running


def fetched(address, timeout=TIMEOUT):
    with contextlib.closing(open_stream(address, timeout)) as stream:
        return b"".join(iter(lambda: stream.read(4_096), b""))


def refusal(address, error=RefusedError):
    with pytest.raises(error) as caught:
        fetched(address)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_the_body_comes_as_it_is(server):
    body = bytes(range(256)) * 400
    assert fetched(server.on("/live", answer(body))) == body


def test_chunks_are_joined(server):
    head = "Transfer-Encoding: chunked\r\n"
    chunked = answer(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", head=head).replace(b"HTTP/1.0", b"HTTP/1.1")
    assert fetched(server.on("/live", chunked)) == b"abcde"


def test_titles_among_the_sound_are_left_out(server):
    titles = b"abcd" + b"\x01" + b"StreamTitle='x';" + b"efgh" + b"\0" + b"ij"
    assert fetched(server.on("/live", answer(titles, head="icy-metaint: 4\r\n"))) == b"abcdefghij"
    assert "icy-metadata" not in server.requests[0].lower()


def test_shoutcast_says_icy_instead_of_http(server):
    assert (
        fetched(server.on("/live", b"ICY 200 OK\r\nicy-name: x\r\nContent-Type: audio/mpeg\r\n\r\nsound")) == b"sound"
    )


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(server, status):
    server.on("/live", answer(b"sound"))
    assert fetched(server.on("/old", answer(status=f"{status} x", head="Location: /live\r\n"))) == b"sound"


@pytest.mark.parametrize(("count", "followed"), [(5, True), (6, False)])
def test_five_redirects_are_followed_and_no_more(server, count, followed):
    for number in range(count):
        server.on(f"/{number}", redirect(f"/{number + 1}"))
    server.on(f"/{count}", answer(b"sound"))
    if followed:
        assert fetched(f"{server.url}/0") == b"sound"
    else:
        assert "more than 5 redirects" in refusal(f"{server.url}/0")


def test_a_loop_of_redirects_ends(server):
    address = server.on("/loop", redirect("/loop"))
    assert refusal(address) == f"{address}: more than 5 redirects"
    assert len(server.requests) == 6


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://x.example/", "data:audio/mpeg,x", "gopher://x/"])
def test_no_other_protocol_is_opened(server, location):
    assert "only http:// and https:// can be played" in refusal(server.on("/live", redirect(location)))
    assert "only http:// and https:// can be played" in refusal(location)


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("404 Not Found", "the server answers 404 Not Found (is the address right, and the station on air?)"),
        ("401 Unauthorized", "the server answers 401 Unauthorized (write http://NAME:PASSWORD@host/...)"),
        ("503 \x1b[31mfull", "the server answers 503 [31mfull"),
        ("206 Partial Content", "the server answers 206 Partial Content"),
    ],
)
def test_a_refusal_is_reported_with_its_status(server, status, told):
    address = server.on("/live", answer(status=status))
    assert refusal(address) == f"{address}: {told}"


def test_a_web_page_is_not_audio(server):
    address = server.on("/", answer(b"<html>", kind="text/html; charset=utf-8"))
    assert refusal(address).startswith(f"{address}: is a web page, not an audio stream")


def test_a_login_is_sent_and_never_shown(server):
    address = server.on("/live?key=17", answer(b"sound")).replace("://", "://me:s%3Acret@")
    assert fetched(address) == b"sound"
    assert "Authorization: Basic bWU6czpjcmV0" in server.requests[0]
    assert display_address(address) == f"{server.url}/live"
    server.on("/live?key=17", answer(status="403 Forbidden"))
    told = refusal(address)
    assert "cret" not in told
    assert "17" not in told.replace(server.url, "")


def test_a_login_goes_to_no_other_server(server):
    with radio_server() as other:
        other.on("/live", answer(b"sound"))
        address = server.on("/live", redirect(f"{other.url}/live"))
        assert fetched(address.replace("://", "://me:secret@")) == b"sound"
        assert "Authorization" in server.requests[0]
        assert "Authorization" not in other.requests[0]


@pytest.mark.parametrize(
    ("name", "kind", "content"),
    [
        ("/a.m3u", "audio/x-mpegurl", "#EXTM3U\n#EXTINF:-1,Radio\n{url}/live\n"),
        ("/a", "audio/x-mpegurl", "live\r\n"),
        ("/a.m3u8", "text/plain", "\ufeff{url}/live"),
        ("/a.pls", "audio/x-scpls", "[playlist]\nNumberOfEntries=2\nFile1={url}/away\nFile2={url}/live\n"),
        ("/a", "application/pls+xml", "[playlist]\nFile1=/live\nTitle1=x\n"),
    ],
)
def test_a_playlist_is_followed_to_the_first_address_that_answers(server, name, kind, content):
    server.on("/live", answer(b"sound"))
    assert fetched(server.on(name, answer(content.format(url=server.url).encode(), kind=kind))) == b"sound"


def test_a_stream_whose_name_ends_as_a_playlist_is_a_stream(server):
    assert fetched(server.on("/live.m3u", answer(b"sound"))) == b"sound"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "is a playlist without an address"),
        ("file:///etc/passwd\n", "only http:// and https:// can be played"),
        ("{url}/b.m3u\n", "names another playlist"),
        (
            "#EXTM3U\n#EXT-X-TARGETDURATION:10\nsegment.ts\n",
            'or let FFmpeg play it: microphone.command = ["ffmpeg", "-v", "error", "-i", "http://127.',
        ),
        ("x\n" * 40_000, "is longer than a playlist (64 KiB)"),
    ],
)
def test_other_playlists_are_refused(server, content, told):
    server.on("/b.m3u", answer(b"/live", kind="audio/x-mpegurl"))
    playlist = answer(content.format(url=server.url).encode(), kind="audio/x-mpegurl")
    assert told in refusal(server.on("/a.m3u", playlist))


def test_five_addresses_of_a_playlist_are_tried(server):
    entries = "".join(f"/{number}\n" for number in range(9)).encode()
    refusal(server.on("/a.m3u", answer(entries, kind="audio/x-mpegurl")))
    assert len(server.requests) == 1 + 5


@pytest.mark.parametrize(
    ("sent", "stalled", "told"),
    [
        (b"", False, "the server closed the connection without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", False, "the server does not answer as HTTP prescribes"),
        (b"", True, "no answer within 0.5 s"),
        (b"HTTP/1.0 200 OK\r\n", True, "no answer within 0.5 s"),
    ],
)
def test_a_server_that_does_not_answer_is_given_up(server, sent, stalled, told):
    address = server.on("/live", sent, stalled=stalled)
    with pytest.raises(AudioError) as caught:
        fetched(address, timeout=0.5 if stalled else TIMEOUT)
    assert str(caught.value) == f"{address}: {told}"
    assert not isinstance(caught.value, RefusedError)


def test_a_port_where_nobody_listens_is_reported():
    with radio_server() as gone:
        pass
    assert refusal(f"{gone.url}/live", AudioError) == f"{gone.url}/live: connection refused"


def test_a_body_that_stalls_ends_with_the_reason(server):
    stream = open_stream(server.on("/live", answer(b"sound"), stalled=True), 1.0)
    assert stream.read(100) == b"sound"
    assert stream.read(100) == b""
    assert (stream.failure, stream.ended) == ("no answer", True)
    stream.close()


@pytest.mark.parametrize("address", ["http://", "http:///live", "https://:8000/", "http://[::1/", "http://x:99999/"])
def test_an_address_without_a_host_is_refused(address):
    assert "write http://radio.example:8000/live.mp3" in refusal(address)


def test_files_are_no_addresses():
    assert [is_address(name) for name in ("song.mp3", "/a/b:c.mp3", "-", "mic", "C:\\a.mp3", "a//b")] == [False] * 6
    assert [is_address(name) for name in ("http://x/", "HTTPS://x/", "file:///x", "rtsp://x")] == [True] * 4


@pytest.mark.parametrize(("size", "accepted"), [(65_536, True), (65_537, False)])
def test_a_playlist_has_64_kibibytes_at_most(server, size, accepted):
    server.on("/live", answer(b"sound"))
    address = server.on("/a.m3u", answer(b"#".ljust(size - 6, b".") + b"\n/live", kind="audio/x-mpegurl"))
    if accepted:
        assert fetched(address) == b"sound"
    else:
        assert "is longer than a playlist (64 KiB)" in refusal(address)


@pytest.mark.parametrize(("answering", "followed"), [(4, True), (5, False)])
def test_the_fifth_address_of_a_playlist_is_the_last_that_is_tried(server, answering, followed):
    server.on(f"/{answering}", answer(b"sound"))
    entries = "".join(f"/{number}\n" for number in range(9)).encode()
    for number in range(9):
        if number != answering:
            server.on(f"/{number}", answer(status="404 Not Found"))
    address = server.on("/a.m3u", answer(entries, kind="audio/x-mpegurl"))
    if followed:
        assert fetched(address) == b"sound"
    else:
        assert "404 Not Found" in refusal(address)


def test_the_reason_of_a_server_is_cut_after_80_letters(server):
    address = server.on("/live", answer(status="500 " + "x" * 81))
    assert refusal(address) == f"{address}: the server answers 500 {'x' * 80}"


@pytest.mark.parametrize(("interval", "used"), [("00000004", True), ("000000004", False)])
def test_an_interval_of_titles_has_eight_digits_at_most(server, interval, used):
    body = b"abcd\0efgh\0"
    address = server.on("/live", answer(body, head=f"icy-metaint: {interval}\r\n"))
    assert fetched(address) == (b"abcdefgh" if used else body)


def test_a_title_may_have_255_times_16_bytes(server):
    body = b"abcd" + b"\xff" + bytes(255 * 16) + b"efgh"
    assert fetched(server.on("/live", answer(body, head="icy-metaint: 4\r\n"))) == b"abcdefgh"
