"""Secrets in addresses are found wherever they stand, and are never repeated; places have names."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymetrics import option_strings
from raymetrics.errors import RaymetricsError, SourceError, StorageError
from raymetrics.uris import find_secret, redact_secret, require_complete_uri, require_no_secret

SECRET_OPTIONS = [
    "token", "access_token", "accessToken", "authToken", "HFToken", "hf_token", "PRIVATE-TOKEN",
    "X-Amz-Security-Token", "mytoken", "key", "apiKey", "x-api-key", "AWSAccessKeyId",
    "account_key",
    "subscription-key", "x-functions-key", "secret", "client_secret", "secretAccessKey", "auth",
    "http_auth", "Authorization", "password", "passwd", "dbPassword", "passphrase", "pwd",
    "user_pwd",
    "pass", "user_pass", "jwt", "code", "authCode", "sas", "sas_token", "sig", "signature",
    "X-Amz-Signature", "X-Goog-Credential", "bearer", "to%6ben", "%74oken", "to%256ben",
]  # fmt: skip
PLAIN_OPTIONS = [
    "max_token", "maxTokens", "pad_token", "eos_token", "n_token", "tokens", "token_type",
    "tokenizer",
    "signature_dim", "signal", "design", "sort_key", "keys", "keyword", "monkey", "class_code",
    "encode", "passes", "bypass", "forward_pass", "author", "weights", "ids", "sv", "psi",
]  # fmt: skip
PLAIN_ADDRESSES = [
    "github://org:repo@main/x.zip", "git:///home/x/repo:main@a.zip", "s3://bucket/set",
    "abfs://container@account.dfs.core.windows.net/x", "hdfs://me@host:8020/x", "photos?size=256",
    "/home/a@b:c/set", "https://host:8080/x.zip", "https://host/three@2/x.zip?ids=a@b:c",
    "https://host:8080/a%40b.zip", "zip://a.zip::https://host/x", "my.module:Gen?psi=0.5",
]  # fmt: skip
PASSWORDS = st.text(st.sampled_from("abcXYZ019/?#@:%&=-_. "), min_size=1).map(
    lambda text: f"hunter2{text}hunter2"
)
PLACES = {
    "password": "{scheme}://user:{raw}@host/x.zip",
    "password below": "zip://a.zip::{scheme}://user:{raw}@host/x?psi=1",
    "user of the web": "https://{quoted}@host/x.zip",
    "encoded colon": "{scheme}://user%3A{quoted}@host/x",
    "option": "{scheme}://host/x.zip?psi=1&{option}={quoted}",
    "option of ours": "my:Gen?{option}={quoted}&psi=1",
    "fragment": "https://host/x#{option}={quoted}",
    "address in an option": "my:Gen?weights=https://host/x?{option}={quoted}",
    "encoded address in an option": "my:Gen?weights=https%3A%2F%2Fuser%3A{quoted}%40host",
    "option without a value before": "my:Gen?psi&{option}={quoted}",
}


@pytest.mark.parametrize("option", SECRET_OPTIONS)
def test_options_that_are_secrets(option: str) -> None:
    assert find_secret(f"https://host/x.zip?{option}=5")
    assert find_secret(f"my:Gen?psi=1&{option}=hunter2")


@pytest.mark.parametrize("option", PLAIN_OPTIONS)
def test_options_that_are_none(option: str) -> None:
    assert find_secret(f"my:Gen?{option}=5&{option}2=a") is None


@pytest.mark.parametrize("address", PLAIN_ADDRESSES)
def test_addresses_without_a_secret(address: str) -> None:
    assert require_no_secret(address, StorageError) == redact_secret(address) == address


@pytest.mark.parametrize("place", PLACES)
@given(
    secret=PASSWORDS,
    scheme=st.sampled_from(["https", "s3", "ftp", "sftp"]),
    option=st.sampled_from(SECRET_OPTIONS),
)
def test_a_secret_is_found_wherever_it_stands_and_never_repeated(
    place: str, secret: str, scheme: str, option: str
) -> None:
    address = PLACES[place].format(
        scheme=scheme, option=option, raw=secret, quoted=quote(secret, safe="")
    )
    for refuse in (lambda: require_no_secret(address, SourceError), lambda: split(address)):
        with pytest.raises(SourceError) as raised:
            refuse()
        assert "has a secret in it" in str(raised.value)
        assert "hunter2" not in str(raised.value)
    assert "hunter2" not in redact_secret(address)
    assert find_secret(redact_secret(address)) is None


def split(address: str) -> None:
    """An error of options, which must not repeat them."""
    option_strings.parse_options(f"{address}&psi", SourceError)
    option_strings.parse_options(f"{address}?psi=1&psi=1", SourceError)


@pytest.mark.parametrize(
    "place",
    ["", " ", "s3://", "s3:///x", "s3:", "s3:/bucket/x", "S3://", "gs:///x", "simplecache::s3://",
     "memory://"],
)  # fmt: skip
def test_places_without_a_name(place: str) -> None:
    with pytest.raises(StorageError, match="names no (place|bucket); expected a path"):
        require_complete_uri(place, StorageError)


@pytest.mark.parametrize("place", ["x", "/", ".", "s3://b", "s3://b/x", "file:///x", "memory://a"])
def test_places_with_a_name(place: str) -> None:
    assert require_complete_uri(place, RaymetricsError) == place
