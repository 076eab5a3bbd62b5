"""How the Python module that sortie replaces brings results home: the archive as a file, then unpacked.

fetch.py URL DIRECTORY
"""

import shutil
import sys
import tarfile
import tempfile
import urllib.request


def main() -> None:
    url, directory = sys.argv[1:]
    with tempfile.NamedTemporaryFile(dir=directory, suffix=".tar.gz") as archive:
        with urllib.request.urlopen(url) as answer:
            shutil.copyfileobj(answer, archive)
        archive.flush()
        with tarfile.open(archive.name) as tar:
            tar.extractall(directory)


main()
