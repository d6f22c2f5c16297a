"""What a gateway carries: gzip for those who take it, and never too much."""

import base64
import gzip
import json
import random

import pytest

import gimel
from gimel import config, connection, packing
from gimel.errors import TooLarge
from gimel.gateway import Answer, endpoint
from gimel.packing import GZIP_FROM, MAX_BYTES, accepts_gzip, pack

from .calls import EVENT, make_http_event, make_rest_event, read

LAMBDA_LIMIT = 6_291_556
ANY = {"Accept": "*/*"}


def noise(size):
    """Text that gzip cannot make much smaller than three quarters."""
    return base64.b64encode(random.Random(9).randbytes(size * 3 // 4)).decode()


@endpoint(GET=None)
def answer_large(request):
    return Answer(["x" * int(str(request.params["size"]))])


def test_a_large_answer_is_compressed_for_those_who_take_it():
    for event in (make_rest_event, make_http_event):
        answer = answer_large(event(query={"size": "100000"}, headers={**ANY, "Accept-Encoding": "br, gzip;q=0.8"}))
        assert (answer["isBase64Encoded"], answer["headers"]["Content-Encoding"]) == (True, "gzip")
        assert answer["headers"]["Vary"] == "Accept-Encoding"
        assert json.loads(gzip.decompress(base64.b64decode(answer["body"]))) == ["x" * 100_000]


def test_others_get_it_as_it_is():
    answer = answer_large(make_rest_event(query={"size": "100000"}))
    assert (answer["isBase64Encoded"], read(answer)) == (False, ["x" * 100_000])
    assert "Content-Encoding" not in answer["headers"]
    assert answer["headers"]["Vary"] == "Accept-Encoding"  # a cache must not give this answer to others


def test_a_client_that_does_not_say_what_it_accepts_gets_it_as_it_is():
    # API Gateway would send it base64 that nothing decodes.
    answer = answer_large(make_rest_event(query={"size": "100000"}, headers={"Accept-Encoding": "gzip"}))
    assert (answer["isBase64Encoded"], read(answer)) == (False, ["x" * 100_000])


def test_that_an_answer_depends_on_the_origin_is_said_too():
    connection.use(config.Config(cors_origins=("https://a.example",)))
    assert answer_large(make_rest_event(query={"size": "100000"}))["headers"]["Vary"] == "Origin, Accept-Encoding"


def test_a_small_answer_is_never_compressed(fake):
    answer = gimel.all(make_rest_event(headers={**ANY, "accept-encoding": "gzip"}))
    assert answer["isBase64Encoded"] is False
    assert "Vary" not in answer["headers"]


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("gzip", True),
        ("deflate, GZIP", True),
        ("gzip;q=0.001", True),
        ("*", True),
        ("", False),
        ("identity", False),
        ("gzip; q=0", False),
        ("gzip;q=0.000, *", False),
        ("xgzip", False),
    ],
)
def test_who_takes_gzip(header, accepted):
    assert accepts_gzip(header) is accepted


def test_the_same_text_is_packed_the_same():
    assert pack("x" * GZIP_FROM, "gzip") == pack("x" * GZIP_FROM, "gzip")


def test_what_is_too_large_to_carry_is_refused_with_its_size_and_a_way_out():
    answer = answer_large(make_rest_event(query={"size": str(MAX_BYTES)}))
    assert answer["statusCode"] == 413
    assert read(answer) == {
        "error": "the answer has 6.0 MB",
        "hint": "send Accept: */* and Accept-Encoding: gzip; or ask /experiments for a page with limit=NUMBER and "
        "after=NAME, or for some experiments with scope=NAME,NAME",
    }
    compressed = answer_large(
        make_rest_event(query={"size": str(MAX_BYTES)}, headers={**ANY, "Accept-Encoding": "gzip"})
    )
    assert compressed["statusCode"] == 200


def test_an_experiment_that_is_too_large_is_refused_as_well(fake, monkeypatch):
    for event in ("participate", *(f"goal {number}" for number in range(50))):
        gimel.track({**EVENT, "event": event})
    monkeypatch.setattr(packing, "MAX_BYTES", 20_000)
    for handle in (gimel.experiment, gimel.all):
        answer = handle(make_rest_event(query={"experiment": EVENT["experiment"]}))
        assert answer["statusCode"] == 413
        assert read(answer)["hint"].startswith("send Accept: */* and Accept-Encoding: gzip")


def test_what_is_too_large_even_compressed_says_so():
    with pytest.raises(TooLarge, match=r"the answer has 7\.0 MB, [67]\.\d MB as gzip and base64: ask /experiments"):
        pack(noise(7_000_000), "gzip")


@pytest.mark.parametrize("sign", ["a", '"', "\\", "\N{HEBREW LETTER GIMEL}", "\N{ROCKET}"])
def test_whatever_is_carried_fits_into_what_lambda_answers(sign):
    """Lambda writes the text into JSON once more: a quote takes two bytes, another script six for each character."""
    low, high = 0, 7_000_000
    while high - low > 20_000:
        size = (low + high) // 2
        try:
            body = pack(sign * size, "")
            low = size
        except TooLarge:
            high = size
    assert len(json.dumps({"statusCode": 200, "headers": {}, "body": body.text})) < LAMBDA_LIMIT
    assert len(json.dumps(sign * high)) > 0.98 * packing.MAX_BYTES
