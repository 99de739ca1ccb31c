"""What a run's tags say is read, whoever wrote them."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from yoyak.bundles.metadata import Lineage


@given(st.text(max_size=30))
@example("²")
@example("٣")
@example("9" * 5000)
def test_a_seed_is_a_number_or_unknown(seed: str) -> None:
    read = Lineage.from_tags("run", {"seed": seed}).seed
    assert read is None or int(seed) == read


def test_a_seed_is_read() -> None:
    assert Lineage.from_tags("run", {"seed": "20"}).seed == 20
