from __future__ import annotations

from pathlib import Path

import pytest

REQUESTS = 10_000
WARM = 2_000  # requests until caches are filled


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ten_thousand_mixed_requests_leave_memory_flat(client):
    body = {"model": "words", "messages": [{"role": "user", "content": "x"}], "guided_choice": []}
    kinds = [
        (200, lambda i: client.post("/v1/emotions", json={"transcript": f"{i} " * (i % 50 + 1)})),
        (422, lambda i: client.post("/v1/emotions", json={"words": i})),
        (422, lambda i: client.post("/v1/chat/completions", json=body)),
        (401, lambda i: client.get("/v1/models", headers={"Authorization": f"Bearer {i}"})),
        (404, lambda i: client.get(f"/nowhere/{i}")),
        (422, lambda i: client.post("/v1/emotions", files={"clip": ("../x.mp4", b"x" * 5000)})),
        (200, lambda i: client.get("/metrics")),
    ]
    before = 0.0
    for i in range(REQUESTS):
        status, ask = kinds[i % len(kinds)]
        assert ask(i).status_code == status
        if i == WARM:
            before = resident_mb()
    assert resident_mb() - before < 20
