"""``rnnzoo import KIND PATH --output FILE``: a pretrained model of another library, as a checkpoint of ours."""

import shlex
from pathlib import Path

from rnnzoo.cli.parser import Parser
from rnnzoo.tasks.imports import KINDS, import_model, write_checkpoint
from rnnzoo.tasks.imports.imported import check_kind, check_output


def run(args: list[str]) -> int:
    """Reads the model, writes the checkpoint, and says what was read and what to try."""
    parser = Parser(
        prog="rnnzoo import",
        description="Make a checkpoint of another library's pretrained model, to evaluate, fine-tune and generate with."
        " Nothing that a pickle holds is run; a file that names more than tensors, numbers and text is refused.",
    )
    parser.add_argument("kind", choices=list(KINDS), help="the library that the model is of")
    parser.add_argument(
        "path",
        nargs="*",
        help="its file, its folder, or the files that belong together; of g2p_en by default the installed package's",
    )
    parser.add_argument("--output", metavar="FILE", help="the checkpoint to write; there must be none")
    if args and not args[0].startswith("-"):
        check_kind(args[0])
    given = parser.parse_args(args)
    if not given.output:
        parser.error("the checkpoint to write is missing: --output FILE")
    output = Path(given.output).expanduser()
    check_output(output)
    imported = import_model(given.kind, [Path(path).expanduser() for path in given.path])
    write_checkpoint(imported, given.kind, output)
    for line in imported.lines:
        print(line)
    print(f"checkpoint: {output}\n\nTry next:")
    for command in imported.commands:
        print(f"  {command.format(checkpoint=shlex.quote(str(output)))}")
    return 0
