"""What a model carries of the section serving, and what the environment changes when it is served."""

import pytest

from yoyak.errors import UserError
from yoyak.params import Serving
from yoyak.serving.settings import FILE, load_serving, save_serving


def test_a_model_carries_its_settings_and_one_without_has_the_defaults(tmp_path):
    assert load_serving(tmp_path, {}) == Serving()
    save_serving(tmp_path, Serving(batch_size=16, max_wait_ms=2, queue_size=9))
    assert load_serving(tmp_path, {}) == Serving(batch_size=16, max_wait_ms=2, queue_size=9)


def test_the_environment_takes_precedence(tmp_path):
    save_serving(tmp_path, Serving(batch_size=16, max_rows=3))
    environment = {"YOYAK_SERVING_BATCH_SIZE": "1", "YOYAK_SERVING_MAX_WAIT_MS": "0.5", "YOYAK__SERVING__MAX_ROWS": "7"}
    assert load_serving(tmp_path, environment) == Serving(batch_size=1, max_wait_ms=0.5, max_rows=3)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"YOYAK_SERVING_BATCHSIZE": "1"}, r"YOYAK_SERVING_BATCHSIZE .*'YOYAK_SERVING_BATCH_SIZE'"),
        ({"YOYAK_SERVING_QUEUE_SIZE": "0"}, "YOYAK_SERVING_QUEUE_SIZE: queue_size is '0'"),
        ({"YOYAK_SERVING_MAX_ROWS": "many"}, "YOYAK_SERVING_MAX_ROWS: max_rows is 'many'"),
    ],
)
def test_a_wrong_variable_is_an_error(tmp_path, environment, message):
    with pytest.raises(UserError, match=message):
        load_serving(tmp_path, environment)


@pytest.mark.parametrize(
    ("text", "message"), [("{", "damaged"), ('{"max_chars": 0}', "max_chars is 0"), ('{"max_chrs": 1}', "max_chrs")]
)
def test_a_damaged_file_is_an_error(tmp_path, text, message):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(UserError, match=rf"serving\.json.*{message}"):
        load_serving(tmp_path, {})
