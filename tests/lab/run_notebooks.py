#!/usr/bin/env python3
"""Executes the notebooks of docs/lab from top to bottom at small sizes (EQFLOW_LAB_QUICK=1), exercises' solutions included, and looks for what a
student's machine would stumble over: an error, text on stderr, a folder of this machine in a cell or an output, a missing picture.

    run_notebooks.py [--full] [FOLDER]      exit code 77: nbclient or matplotlib is missing"""

import os
import pathlib
import re
import resource
import sys
import time

try:
    import matplotlib  # noqa: F401
    import nbclient
    import nbformat
except ImportError as error:
    print(f"skipped: {error.name} is missing (pip install nbclient ipykernel matplotlib)")
    sys.exit(77)


def problems_of(notebook, name):
    found, num_pictures, num_solutions = [], 0, 0
    for number, cell in enumerate(notebook.cells):
        text = cell.source
        num_solutions += "solution" in cell.metadata.get("tags", [])
        for output in cell.get("outputs", []):
            text += output.get("text", "") + str(output.get("data", {}).get("text/plain", ""))
            num_pictures += "image/png" in output.get("data", {})
            if output.get("name") == "stderr":
                found.append(f"{name}, cell {number}: on stderr: {output['text'][:200]}")
        path = re.search(r"(?<![\w.:/])/(home|root|tmp|usr|work|opt|mnt)/\S*", text)
        if path:
            found.append(f"{name}, cell {number}: a folder of one machine: {path.group()}")
    if num_pictures < 1:
        found.append(f"{name}: {num_pictures} pictures; expected one at least")
    if num_solutions < 4:
        found.append(f"{name}: {num_solutions} solutions; expected 4 or more")
    return found


def processor_seconds():
    """Of the kernels that have ended: what other processes of the machine do does not count."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--full"]
    if "--full" not in sys.argv:
        os.environ["EQFLOW_LAB_QUICK"] = "1"
    folder = pathlib.Path(arguments[0] if arguments else pathlib.Path(__file__).resolve().parents[2] / "docs/lab")
    paths, problems = sorted(folder.glob("*.ipynb")), []
    if len(paths) != 5:
        problems.append(f"{len(paths)} notebooks in docs/lab; expected 5")
    for path in paths:
        notebook = nbformat.read(path, 4)
        problems += problems_of(notebook, f"{path.name} as it is stored")
        begin, begin_cpu = time.monotonic(), processor_seconds()
        try:
            nbclient.NotebookClient(notebook, timeout=900, kernel_name="python3").execute()
        except nbclient.exceptions.CellExecutionError as error:
            problems.append(f"{path.name}: {str(error)[-600:]}")
            continue
        print(f"{path.name}: {time.monotonic() - begin:.0f} s, {processor_seconds() - begin_cpu:.0f} s of processor time", flush=True)
        problems += problems_of(notebook, path.name)
    for problem in problems:
        print(f"FAILED: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
