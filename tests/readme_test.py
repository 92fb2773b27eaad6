# SPDX-License-Identifier: MIT
"""usage: readme_test.py README.md quickstart.cpp

The first C++ program of the README is examples/quickstart.cpp without its licence line.
"""

import difflib
import pathlib
import re
import sys

readme, program = (pathlib.Path(argument) for argument in sys.argv[1:3])
block = re.search(r"^```cpp\n(.*?)^```$", readme.read_text(), re.DOTALL | re.MULTILINE)
if block is None:
    sys.exit(f"{readme} has no ```cpp block")

licence, _, expected = program.read_text().partition("\n")
if not licence.startswith("// SPDX-License-Identifier:"):
    sys.exit(f"{program} does not begin with its licence line")

difference = difflib.unified_diff(
    expected.splitlines(keepends=True), block[1].splitlines(keepends=True), str(program), str(readme)
)
sys.stderr.writelines(difference)
sys.exit(block[1] != expected)
