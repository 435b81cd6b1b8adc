"""`rnnzoo import g2p_en`: the package's network, tested on the dictionary and trained further by commands."""

from pathlib import Path

from pyarrow import csv

SMALL = [
    "--data.train_split=train[:3000]",
    "--data.validation_split=train[3000:3300]",
    "--data.test_split=train[3300:3900]",
]


def figure(answer, name):
    line = next(line for line in answer.out.splitlines() if line.startswith(f"test_{name} "))
    return float(line.split()[1])


def test_it_is_imported_tested_asked_and_trained_further(zoo, tmp_path):
    answer = zoo("import", "g2p_en", "--output", "g2p.ckpt")  # of the package that is installed
    assert answer.status == 0, answer.err
    assert answer.out.startswith("g2p_en: a GRU of 256 units")
    tested = zoo("test", "--ckpt_path", "g2p.ckpt", *SMALL)
    assert 0.02 < figure(tested, "token_error_rate") < 0.2, tested
    Path("words.csv").write_text("word\ncat\nphonograph\n")
    asked = next(line for line in answer.out.splitlines() if line.startswith("  rnnzoo predict")).split()[1:]
    written = zoo(*["words.csv" if word == "FILE" else word for word in asked], "--predictions.path", "out.csv")
    assert written.status == 0, written.err
    assert csv.read_csv("out.csv")["prediction"].to_pylist()[0] == "K AE1 T"
    tuned = zoo(
        *("fit", "--config", "configs/g2p_en.yaml", "--model.pretrained", "g2p.ckpt", *SMALL),
        *("--trainer.max_epochs=1", "--data.batch_size=250", "--model.learning_rate=1e-4"),
    )
    assert tuned.status == 0, tuned.err
    rate = next(line for line in tuned.out.splitlines() if line.startswith("held-out phoneme error rate: "))
    assert float(rate.split(": ")[1]) < 0.2
    assert zoo("import", "g2p_en", "words.csv", "--output", "x.ckpt").complaint.startswith(
        "'words.csv' is not g2p-en's"
    )
