from textualize.doctor import PACKAGES, examine


def test_every_package_is_looked_for_and_a_missing_one_says_how_to_get_it():
    found = {f.name: f for f in examine()}
    assert {distribution for distribution, _, _ in PACKAGES.values()} <= set(found)
    for distribution, _, extra in PACKAGES.values():
        finding = found[distribution]
        assert finding.there or finding.remedy == f"pip install 'textualize[{extra}]'"
    assert "compound" in found["prompts"].found


def test_a_package_that_is_not_there_is_found_missing(monkeypatch):
    monkeypatch.setitem(PACKAGES, "no_such_package", ("no-such", "nothing", "extract"))
    missing = next(f for f in examine() if f.name == "no-such")
    assert not missing.there and missing.remedy


def test_offline_is_told(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert any(f.name == "model hub" and "offline" in f.found for f in examine())
