#!/usr/bin/env python3
"""Builds the documentation as HTML with search: guide, experiments, lab, gallery, Python API, and (if Doxygen made it) the C API.

    docs/site/build.py [--output FOLDER] [--c-api FOLDER]       from a build folder: cmake --build build --target docs-site

Debian: mkdocs mkdocs-material libjs-katex (formulas of the lab), doxygen for the C API. Pages are those of docs/, linked as they are in the
repository. A link that leads nowhere, in the pages or in the HTML that comes out, is an error, and so is a warning of MkDocs."""

import argparse
import ast
import base64
import html.parser
import json
import os
import pathlib
import posixpath
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
REPOSITORY_PAGES = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "cl/README.md", "platforms/README.md"]
NAVIGATION = [
    ("Start", ["docs/getting-started.md", "docs/install.md", "docs/troubleshooting.md"]),
    ("Guide", ["docs/cli.md", "docs/method.md", "docs/sampling.md", "docs/potentials.md", "docs/minima.md", "docs/averages.md", "docs/anneal.md", "docs/mpi.md",
               "docs/file-formats.md", "docs/errors.md"]),
    ("Lab", ["docs/lab/README.md", "docs/lab/*.ipynb", "docs/lab/setup.md", "docs/lab/instructor.md"]),
    ("Gallery", ["apps/gallery/README.md", "apps/gallery/*.md"]),
    ("Experiments", ["docs/experiments/README.md", "docs/experiments/*.md"]),
    ("API", ["docs/python.md", "python-api.md", "docs/api.md", "c-api"]),
    ("Inside", ["docs/architecture.md", "docs/conventions.md", "docs/extending.md", "docs/testing.md", "docs/reliability.md", "docs/devices.md",
                "docs/benchmarks.md", "docs/*.md", "cl/README.md", "platforms/README.md", "CONTRIBUTING.md", "CHANGELOG.md"]),
]
# Links in the dark as bright as text; the theme's own are too dark there. Signatures break where they must.
CSS = """[data-md-color-scheme="slate"] { --md-typeset-a-color: #9fb2ff; --md-accent-fg-color: #c3ceff; }
[data-md-color-scheme="slate"] .md-nav__link--active { color: #9fb2ff; }
.md-typeset code { overflow-wrap: anywhere; }
.md-typeset pre > code { overflow-wrap: normal; }
"""
LINK = re.compile(r"(!?\[[^\]]*\])\(([^)\s]+)\)")


class Problems(list):
    def add(self, text):
        if text not in self:
            self.append(text)


# ---- Pages -------------------------------------------------------------------------------------------------------------------------


def outside_code(text):
    """(is_code, line) of each line: fenced blocks are code."""
    is_code = False
    for line in text.split("\n"):
        if re.match(r"\s*```", line):
            is_code = not is_code
            yield True, line
        else:
            yield is_code, line


def staged_markdown(text):
    """GitHub's Markdown as Python-Markdown reads it: a list after a paragraph wants an empty line, what continues an item four spaces."""
    lines, in_list = [], False
    for is_code, line in outside_code(text):
        item = re.match(r"( {0,3})([-*]|\d+\.) +(?=\S)", line) if not is_code else None
        if item:
            if lines and lines[-1].strip() and not in_list:
                lines.append("")
            in_list = True
            line = f"{item.group(2)}   {line[item.end():]}"
        elif in_list and not is_code and line.strip():
            if line.startswith("  "):
                line = "    " + line.lstrip()
            else:
                in_list = False
                if lines and lines[-1].strip():
                    in_list = not re.match(r"[#|]", line)
                if not in_list:
                    lines.append("")
        lines.append(line)
    return "\n".join(lines)


def anchor_of(title):
    """GitHub's: lower case, punctuation dropped, spaces to hyphens."""
    text = re.sub(r"`|\*|\[([^\]]*)\]\([^)]*\)", r"\1", title).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def notebook_as_markdown(path):
    """A page with code, outputs, pictures (files beside it) and folded solutions; {file name: bytes} of the pictures."""
    notebook, parts, pictures = json.loads(path.read_text()), [], {}
    for cell in notebook["cells"]:
        source, tags = "".join(cell["source"]), cell.get("metadata", {}).get("tags", [])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            if source.startswith("# "):
                parts.append(f"*The notebook: [{path.name}]({path.name})*")
            continue
        body = f"```python\n{source}\n```\n"
        for output in cell.get("outputs", []):
            text, data = "".join(output.get("text", "")), output.get("data", {})
            if "image/png" in data:
                name = f"{path.stem}-{len(pictures)}.png"
                pictures[name] = base64.b64decode("".join(data["image/png"]))
                body += f"\n![Output of the cell above]({name})\n"
            elif text:
                body += f"\n```text\n{text.rstrip()}\n```\n"
        if "solution" in tags:
            body = '<details markdown="1"><summary>Solution</summary>\n\n' + body + "\n</details>"
        parts.append(body)
    return "\n\n".join(parts) + "\n", pictures


def python_reference():
    """A page of the public names of the Python package, from their docstrings."""
    texts = [path.read_text() for path in sorted((ROOT / "apps/python/eqflow").glob("*.py"))]
    trees = [ast.parse(text) for text in texts]
    public = set()
    for tree in trees:
        for node in tree.body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
                public = set(ast.literal_eval(node.value))
    out = ["# Python reference\n", "Made from the docstrings of `apps/python/eqflow`; [python.md](docs/python.md) is the guide.\n"]

    def signature(node, name):
        text = ast.unparse(node.args)
        return f"`{name}({re.sub(r'^(self|cls)(, )?', '', text)})`" + (f" → `{ast.unparse(node.returns)}`" if node.returns else "")

    def described(node):
        return (ast.get_docstring(node) or "").strip() + "\n"

    lines_of = {node.name: text.split("\n") for tree, text in zip(trees, texts) for node in tree.body if isinstance(node, ast.ClassDef)}

    def field(name, node):
        """A member with its shape and unit, which stand in the comment behind it."""
        _, _, comment = lines_of[name][node.lineno - 1].partition("  # ")
        return f" - `{ast.unparse(node)}`" + (f" {comment}" if comment else "")

    definitions = {node.name: node for tree in trees for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
    for name in sorted(public, key=str.lower):
        node = definitions.get(name)
        if isinstance(node, ast.FunctionDef):
            out.append(f"## {name}\n\n{signature(node, name)}\n\n{described(node)}")
        elif isinstance(node, ast.ClassDef):
            out.append(f"## {name}\n\n{described(node)}")
            fields = [field(name, n) for n in node.body if isinstance(n, ast.AnnAssign)]
            if fields:
                out.append("\n".join(fields) + "\n")
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                    if any(ast.unparse(d).endswith(".setter") for d in method.decorator_list):
                        continue
                    is_property = any("property" in ast.unparse(d) for d in method.decorator_list)
                    title = f"`{name}.{method.name}`" if is_property else signature(method, f"{name}.{method.name}")
                    out.append(f"### {name}.{method.name}\n\n{title}\n\n{described(method)}")
    return "\n".join(out)


def page_name(source):
    """Where a file of the repository stands in the site; index pages take the folder's name."""
    target = str(source)
    if target == "README.md":
        return "index.md"
    target = re.sub(r"README\.md$", "index.md", target)
    return re.sub(r"\.ipynb$", ".md", target) if target.endswith(".ipynb") else target


def stage(folder, c_api, problems):
    """The pages and what they link to, under folder."""
    waiting = [*REPOSITORY_PAGES, *(str(p.relative_to(ROOT)) for p in sorted(ROOT.glob("docs/**/*"), key=str)
                                    if p.suffix in (".md", ".ipynb") and "site" not in p.relative_to(ROOT).parts[1:2]),
               *(str(p.relative_to(ROOT)) for p in sorted(ROOT.glob("apps/gallery/*.md")))]
    done = set()

    def rewritten(text, source):
        def replace(match):
            label, target = match.groups()
            if re.match(r"[a-z]+:|#|//", target):
                return match.group(0)
            path, _, fragment = target.partition("#")
            path = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
            there = ROOT / path
            if not there.exists():
                problems.add(f"{source}: there is no {target}")
                return match.group(0)
            if there.is_dir():
                path = posixpath.join(path, "README.md")
                if not (ROOT / path).exists():
                    return f"{label}({posixpath.relpath('c-api/index.html', posixpath.dirname(page_name(source)) or '.')})" if c_api else label
            if path not in done:
                waiting.append(path)
            is_download = path.endswith(".ipynb") and path == posixpath.join(posixpath.dirname(source), posixpath.basename(path)) and source == path
            name = path if is_download else page_name(path)
            return f"{label}({posixpath.relpath(name, posixpath.dirname(page_name(source)) or '.')}{'#' + fragment if fragment else ''})"

        return "\n".join(line if is_code else LINK.sub(replace, line) for is_code, line in outside_code(text))

    while waiting:
        source = waiting.pop(0)
        if source in done:
            continue
        done.add(source)
        target = folder / page_name(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.endswith(".ipynb"):
            text, pictures = notebook_as_markdown(ROOT / source)
            for name, content in pictures.items():
                (target.parent / name).write_bytes(content)
            shutil.copyfile(ROOT / source, folder / source)
            # Links to its own file and pictures stand as they are.
            target.write_text(staged_markdown(text))
        elif source.endswith(".md"):
            target.write_text(staged_markdown(rewritten((ROOT / source).read_text(), source)))
        else:
            shutil.copyfile(ROOT / source, target)
    (folder / "python-api.md").write_text(staged_markdown(python_reference()))
    if c_api:
        shutil.copytree(c_api, folder / "c-api")
    return done


def titled(path):
    for line in path.read_text().split("\n"):
        if line.startswith("# "):
            return re.sub(r"[`*]", "", line[2:]).strip()
    return path.stem


def navigation(folder, c_api):
    used, nav = {"index.md"}, [{"Overview": "index.md"}]
    for section, patterns in NAVIGATION:
        pages = []
        for pattern in patterns:
            if pattern == "c-api":
                if c_api:
                    pages.append({"C reference": "c-api/index.html"})
                continue
            for path in sorted(folder.glob(page_name(pattern))):
                name = str(path.relative_to(folder))
                if name not in used:
                    used.add(name)
                    pages.append({titled(path): name})
        nav.append({section: pages})
    return nav


# ---- What comes out ----------------------------------------------------------------------------------------------------------------


class Links(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.links, self.names = [], set()

    def handle_starttag(self, tag, attributes):
        for key, value in attributes:
            if key in ("id", "name") and value:
                self.names.add(value)
            if key in ("href", "src") and value and tag != "base":
                self.links.append(value)


def check_links(site, problems):
    """Every relative link of our own pages leads to a file, every fragment to an element."""
    pages = {}

    def parsed(path):
        if path not in pages:
            pages[path] = Links()
            pages[path].feed(path.read_text(errors="replace"))
        return pages[path]

    num = 0
    for page in sorted(site.rglob("*.html")):
        if "c-api" in page.relative_to(site).parts or page.name == "404.html":
            continue
        for link in parsed(page).links:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            num += 1
            target = (page.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else page
            if target.is_dir():
                target /= "index.html"
            if not target.exists():
                problems.add(f"{page.relative_to(site)}: {link} leads nowhere")
            elif parts.fragment and target.suffix == ".html" and "c-api" not in str(target) and \
                    urllib.parse.unquote(parts.fragment) not in parsed(target).names and not parts.fragment.startswith("__"):
                problems.add(f"{page.relative_to(site)}: {link}: there is no such heading")
    return num


def configuration(docs, site, nav, katex):
    from mkdocs.utils import get_theme_names

    if "material" in get_theme_names():
        theme = {"name": "material", "font": False, "features": ["navigation.sections", "navigation.top", "search.highlight"],
                 "palette": [{"media": "(prefers-color-scheme: light)", "scheme": "default", "primary": "indigo",
                              "toggle": {"icon": "material/weather-night", "name": "dark"}},
                             {"media": "(prefers-color-scheme: dark)", "scheme": "slate", "primary": "indigo",
                              "toggle": {"icon": "material/weather-sunny", "name": "light"}}]}
    else:
        theme = {"name": "readthedocs"}
    settings = {"site_name": "eqflow", "site_description": "equivariant continuous normalizing flows with exact likelihood, on any OpenCL device",
                "docs_dir": str(docs), "site_dir": str(site), "use_directory_urls": False, "theme": theme, "plugins": ["search"], "nav": nav,
                "markdown_extensions": ["tables", "fenced_code", "md_in_html", "sane_lists",
                                        {"toc": {"permalink": True}},
                                        {"pymdownx.arithmatex": {"generic": True}}]}
    settings["extra_css"] = ["site.css"]
    if katex:
        settings["extra_css"].append("katex/katex.min.css")
        settings["extra_javascript"] = ["katex/katex.min.js", "katex/contrib/auto-render.js", "katex/start.js"]
    return settings


def find_mkdocs():
    """MkDocs, of this Python or of the one that the program mkdocs runs with."""
    try:
        import mkdocs  # noqa: F401
        return
    except ImportError:
        pass
    program = shutil.which("mkdocs")
    first = open(program, errors="replace").readline() if program else ""
    interpreter = first[2:].split()[0] if first.startswith("#!/") and "env" not in first else "/usr/bin/python3"
    if program and "EQFLOW_SITE_PYTHON" not in os.environ and pathlib.Path(interpreter).exists():
        os.environ["EQFLOW_SITE_PYTHON"] = interpreter  # once
        os.execv(interpreter, [interpreter, *sys.argv])
    print("skipped: MkDocs is missing (Debian: mkdocs mkdocs-material)", file=sys.stderr)
    sys.exit(77)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "build/site")
    parser.add_argument("--c-api", type=pathlib.Path, help="Doxygen's HTML folder")
    args = parser.parse_args()
    find_mkdocs()
    problems = Problems()
    with tempfile.TemporaryDirectory() as work:
        docs = pathlib.Path(work) / "pages"
        docs.mkdir()
        c_api = args.c_api if args.c_api and args.c_api.is_dir() else None
        stage(docs, c_api, problems)
        (docs / "site.css").write_text(CSS)
        katex = pathlib.Path("/usr/share/javascript/katex")
        if katex.is_dir():
            shutil.copytree(katex, docs / "katex", ignore=shutil.ignore_patterns("*.mjs"))
            (docs / "katex/start.js").write_text("document.addEventListener('DOMContentLoaded', function () {\n    renderMathInElement(document.body, {delimiters: "
                                                 "[{left: '\\\\(', right: '\\\\)', display: false}, {left: '\\\\[', right: '\\\\]', display: true}]});\n});\n")
        import markdown.extensions.toc as toc

        toc.slugify = lambda value, separator, unicode=False: anchor_of(value)
        settings = configuration(docs, args.output.resolve(), navigation(docs, c_api), katex.is_dir())
        settings["markdown_extensions"] = [{"toc": {"permalink": True, "slugify": toc.slugify}} if isinstance(e, dict) and "toc" in e else e
                                           for e in settings["markdown_extensions"]]
        import logging

        from mkdocs.commands import build
        from mkdocs.config import load_config

        class Counter(logging.Handler):
            def emit(self, record):
                if record.levelno >= logging.WARNING:
                    problems.add(f"mkdocs: {record.getMessage()}")

        logging.getLogger("mkdocs").addHandler(Counter())
        (pathlib.Path(work) / "mkdocs.yml").write_text("site_name: eqflow\n")
        build.build(load_config(str(pathlib.Path(work) / "mkdocs.yml"), **settings))
        num = check_links(args.output.resolve(), problems)
    for problem in problems:
        print(f"build.py: {problem}", file=sys.stderr)
    num_pages = len(list(args.output.rglob("*.html")))
    print(f"{num_pages} pages, {num} links checked, {len(problems)} problems: {args.output}/index.html")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
