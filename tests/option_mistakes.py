"""What every process says of an option with a bad value, wherever the value comes from."""

from collections.abc import Callable, Mapping, Sequence

import pytest

from genlock_core.process.options import Program


def assert_is_one_line(
    program: Program,
    parse: Callable[[Sequence[str], Mapping[str, str]], object],
    *,
    option: tuple[str, str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Give `option` (name, text) as an argument and as a variable: status 2, and one line that names both."""
    name, text = option
    variable = program.variable(name)
    for arguments, environment in (([f"--{name}={text}"], {}), ([], {variable: text})):
        with pytest.raises(SystemExit) as ended:
            parse(arguments, environment)
        assert ended.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"{program.name}: --{name} ({variable}) must ")
        assert message in line
        assert "hunter2" not in line
