from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

from textualize.errors import TextualizeError
from textualize.serve.address import is_local
from textualize.serve.launch import free_port
from textualize.serve.run import Serving, key_of, serve

KEY = "0123456789abcdef-key"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org", ""])
def test_an_address_reached_from_elsewhere_needs_a_given_key(words_run, host, monkeypatch):
    monkeypatch.delenv("TEXTUALIZE_API_KEY", raising=False)
    assert not is_local(host)
    with pytest.raises(TextualizeError, match="give a key"):
        serve([words_run], Serving(host=host), print)


def test_keys_come_from_file_then_variable_then_chance(tmp_path):
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    assert key_of(file, "another key, long enough") == (KEY, True)
    assert key_of(None, KEY) == (KEY, True)
    made, given = key_of(None, None)
    assert len(made) >= 24 and not given and key_of(None, None)[0] != made
    for bad in ("short", "ключ длинный достаточно"):
        with pytest.raises(TextualizeError, match="characters"):
            key_of(None, bad)


def test_a_port_in_use_is_told_before_anything_is_loaded(words_run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(TextualizeError, match="--port"):
            serve([words_run], Serving(port=port), print)


@pytest.mark.parametrize(
    "sign", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_the_command_answers_tells_how_to_ask_and_ends_at_a_signal(words_run, sign):
    port = free_port()
    command = [sys.executable, "-m", "textualize", "serve", str(words_run), "--port", str(port)]
    command += ["--engine", "transformers"]
    env = {**os.environ, "TEXTUALIZE_API_KEY": KEY, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as child:
        try:
            lines = [child.stderr.readline() for _ in range(2)]
            assert f"words at http://127.0.0.1:{port}" in lines[0]
            assert lines[1].startswith("curl ") and KEY not in lines[1]
            until = time.monotonic() + 20
            while True:
                try:
                    found = httpx.post(
                        f"http://127.0.0.1:{port}/v1/emotions",
                        json={"transcript": "x"},
                        headers={"Authorization": f"Bearer {KEY}"},
                    )
                    break
                except httpx.ConnectError:
                    assert time.monotonic() < until
            assert found.status_code == 200
            child.send_signal(sign)
            assert child.wait(30) == 0
        finally:
            child.kill()
