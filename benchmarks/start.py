"""How long levsha --help and a one-line chat take as whole processes: seconds, best of 5.  Argument: the folder of a run."""

import subprocess
import sys
import time
from pathlib import Path


def best(words: list[str]) -> float:
    took = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "levsha.cli", *words], check=True, capture_output=True)
        took.append(time.perf_counter() - start)
    return min(took)


def main() -> None:
    print(f"levsha --help        {best(['--help']):.2f} s")
    for run in sys.argv[1:]:
        if Path(run, "results.json").exists():
            print(f"levsha chat --say    {best(['chat', run, '--say', 'hello']):.2f} s")


if __name__ == "__main__":
    main()
