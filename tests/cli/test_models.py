from __future__ import annotations

import sys

import pytest

from energyaware.cli import main


@pytest.fixture
def lines(tmp_path, monkeypatch, capsys):
    """A function → line of each model, by name."""
    pytest.importorskip("huggingface_hub", reason="huggingface_hub comes with energyaware[models]")
    import huggingface_hub.constants

    monkeypatch.setenv("ENERGYAWARE_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def read() -> dict[str, str]:
        assert main(["models"]) == 0
        return {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}

    return read


def test_size_licence_gate_and_state_are_listed(lines):
    found = lines()
    assert "6.05B" in found["gpt-j-6b"]
    assert "EleutherAI/gpt-j-6b@refs/pr/40" in found["gpt-j-6b"]
    assert "Llama 3.2 Community License (gated)" in found["llama-3.2-1b"]
    assert "gated" not in found["mistral-7b"]
    assert "downloaded on first use" in found["t5-3b"]
    assert "trained on first use" in found["tiny-t5"]


def test_trained_copies_are_counted_and_names_that_begin_alike_are_kept_apart(lines, tmp_path):
    for name in ("tiny-gpt2-0123456789abcdef", "tiny-gpt2-fedcba9876543210", "tiny-gpt2-0123456789abcdef.training"):
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "config.json").write_text("{}")
    found = lines()
    assert "trained ×2" in found["tiny-gpt2"]
    assert "trained on first use" in found["tiny-gpt-j"]


def test_a_download_is_found_without_a_network(lines, tmp_path):
    folder = tmp_path / "hub" / "models--openai-community--gpt2"
    snapshot = folder / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0" * 40)
    (snapshot / "config.json").write_text("{}")
    assert "downloaded on first use" in lines()["gpt2"]
    (snapshot / "model.safetensors").touch()
    assert lines()["gpt2"].endswith("cached")


def test_on_a_terminal_the_table_fits_and_elsewhere_it_is_whole(lines, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert "EleutherAI/gpt-j-6b@refs/pr/40" in lines()["gpt-j-6b"]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    found = {name: line for name, line in lines().items() if name != "cache:"}
    assert max(map(len, found.values())) <= 80
    assert found["gpt-j-6b"].endswith("downloaded on first use")
