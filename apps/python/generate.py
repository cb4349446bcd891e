"""Writes eqflow/_declarations.py from the public headers of the library, so that the two cannot drift.

    python3 generate.py --include INCLUDE_FOLDER [--cc CC] [-o FILE]

The headers go through the C preprocessor; their typedefs and prototypes are plain enough for the small parser below. A C program, compiled
and run here, tells every struct's size and offsets and the bytes of its EQF_..._INIT, so that defaults and layouts are the compiler's own.
eqflow/opencl.h, which speaks of OpenCL's own objects, is left out."""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

LEFT_OUT = {"eqflow.h", "opencl.h"}
BASE_TYPES = {
    "char": "c_char",
    "signed char": "c_byte",
    "unsigned char": "c_ubyte",
    "short": "c_short",
    "unsigned short": "c_ushort",
    "int": "c_int",
    "unsigned": "c_uint",
    "unsigned int": "c_uint",
    "long": "c_long",
    "unsigned long": "c_ulong",
    "long int": "c_long",
    "long unsigned int": "c_ulong",
    "unsigned long int": "c_ulong",
    "long long": "c_longlong",
    "unsigned long long": "c_ulonglong",
    "float": "c_float",
    "double": "c_double",
    "_Bool": "c_bool",
    "bool": "c_bool",
    "size_t": "c_size_t",
    "uint8_t": "c_uint8",
    "uint16_t": "c_uint16",
    "uint32_t": "c_uint32",
    "uint64_t": "c_uint64",
    "int32_t": "c_int32",
    "int64_t": "c_int64",
}


def own_text(headers, include, cc):
    """The headers after the preprocessor, without what they include from elsewhere."""
    source = "".join(f"#include <eqflow/{name}>\n" for name in headers)
    command = [cc, "-E", "-x", "c", "-std=c11", "-I", str(include), "-"]
    lines = subprocess.run(command, input=source, capture_output=True, text=True, check=True).stdout.splitlines()
    own, is_own = [], False
    for line in lines:
        marker = re.match(r'# \d+ "([^"]*)"', line)
        if marker:
            is_own = pathlib.Path(marker.group(1)).parent.name == "eqflow"
        elif is_own:
            own.append(line)
    return "\n".join(own)


def statements(text):
    """Top-level statements, by their semicolons."""
    depth, begin = 0, 0
    for place, letter in enumerate(text):
        if letter in "{(":
            depth += 1
        elif letter in "})":
            depth -= 1
        elif letter == ";" and depth == 0:
            yield " ".join(text[begin:place].split())
            begin = place + 1


class Declarations:
    def __init__(self):
        self.enums, self.structs, self.callbacks, self.functions = {}, {}, {}, {}
        self.constants = {}

    # ---- types -----------------------------------------------------------------------------------------------------

    def is_type(self, name):
        return name == "void" or name in BASE_TYPES or name in self.enums or name in self.structs or name in self.callbacks

    def type_of(self, words, num_stars):
        """The ctypes expression of a C type."""
        words = [word for word in words if word not in ("const", "struct", "enum")]
        name = " ".join(words)
        if num_stars > 0 and name == "void":
            return self.pointers("c_void_p", num_stars - 1)
        if num_stars > 0 and name == "char":
            return self.pointers("c_char_p", num_stars - 1)
        if name == "void":
            return "None"
        if name in self.enums:
            base = "c_int"
        elif name in self.structs or name in self.callbacks:
            base = name
        elif name in BASE_TYPES:
            base = BASE_TYPES[name]
        else:
            raise ValueError(f"unknown type '{name}'")
        return self.pointers(base, num_stars)

    @staticmethod
    def pointers(base, num_stars):
        for _ in range(num_stars):
            base = f"POINTER({base})"
        return base

    def declarator(self, text, is_parameter=False):
        """(name, ctypes expression) of 'const float *x' or 'size_t shape[2]'."""
        sizes = re.findall(r"\[([^\]]*)\]", text)
        text = re.sub(r"\[[^\]]*\]", "", text)
        num_stars = text.count("*")
        words = text.replace("*", " ").split()
        whole = " ".join(word for word in words if word not in ("const", "struct", "enum"))
        name = ""
        if not self.is_type(whole):
            name, words = words[-1], words[:-1]
        if is_parameter and sizes:  # an array as a parameter is a pointer
            num_stars += 1
            sizes = sizes[1:]
        expression = self.type_of(words, num_stars)
        for size in reversed(sizes):
            expression = f"({expression} * {self.number(size)})"
        return name, expression

    def number(self, text):
        return int(eval(text, {"__builtins__": {}}, dict(self.constants)))

    # ---- statements ------------------------------------------------------------------------------------------------

    def add(self, statement):
        if not statement:
            return
        for pattern, method in (
            (r"(?:typedef )?enum ?(\w*) ?\{(.*)\} ?(\w*)$", self.add_enum),
            (r"typedef struct (\w+) \{(.*)\} (\w+)$", self.add_struct),
            (r"typedef struct (\w+) (\w+)$", self.add_opaque),
            (r"typedef (.*)\(\*(\w+)\) ?\((.*)\)$", self.add_callback),
            (r"((?:const )?\w[\w ]*?[ *]+)(\w+) ?\((.*)\)$", self.add_function),
        ):
            match = re.match(pattern, statement)
            if match:
                return method(*match.groups())
        raise ValueError(f"what is '{statement[:100]}'?")

    def add_enum(self, _tag, body, name):
        value = -1
        for item in body.split(","):
            item = item.strip()
            if not item:
                continue
            key, _, text = item.partition("=")
            value = self.number(text.strip("() ")) if text else value + 1
            self.constants[key.strip()] = value
        if name:
            self.enums[name] = [item.partition("=")[0].strip() for item in body.split(",") if item.strip()]

    def add_struct(self, _tag, body, name):
        fields = []
        self.structs.setdefault(name, None)
        for line in body.split(";"):
            line = line.strip()
            if not line:
                continue
            pointer = re.match(r"(.*)\(\*(\w+)\) ?\((.*)\)$", line)
            if pointer:
                fields.append((pointer.group(2), self.callback_type(pointer.group(1), pointer.group(3))))
                continue
            first, *others = line.split(",")
            field, expression = self.declarator(first)
            fields.append((field, expression))
            base = re.sub(r"\b" + re.escape(field) + r"\b.*", "", first).replace("*", "").strip()
            for other in others:
                fields.append(self.declarator(f"{base} {other.strip()}"))
        self.structs[name] = fields

    def add_opaque(self, _tag, name):
        self.structs.setdefault(name, None)

    def callback_type(self, result, parameters):
        return f"CFUNCTYPE({', '.join([self.declarator(result)[1], *self.parameters(parameters)])})"

    def add_callback(self, result, name, parameters):
        self.callbacks[name] = self.callback_type(result, parameters)

    def add_function(self, result, name, parameters):
        self.functions[name] = (self.declarator(result)[1], self.parameters(parameters))

    def parameters(self, text):
        if text.strip() in ("void", ""):
            return []
        return [self.declarator(part, is_parameter=True)[1] for part in text.split(",")]


def layouts(declarations, headers, include, cc):
    """{struct: {size, offsets, init}} as the compiler has them; init in hexadecimal, "" where there is no EQF_..._INIT."""
    macros = set()
    for name in headers:
        macros |= set(re.findall(r"#define (EQF_\w+_INIT)\b", (include / "eqflow" / name).read_text()))
    lines = ["#include <stdio.h>", "#include <stddef.h>", "#include <string.h>"]
    lines += [f"#include <eqflow/{name}>" for name in headers]
    lines += [
        "static void print(const void *b, size_t n) { for (size_t i = 0; i < n; i++) printf(\"%02x\", ((const unsigned char *)b)[i]); }",
        'int main(void) { printf("{"); const char *comma = "";',
    ]
    for struct, fields in declarations.structs.items():
        if fields is None:
            continue
        macro = struct.upper() + "_INIT"
        offsets = ",".join(f'\\"{field}\\": %zu' for field, _ in fields)
        values = ",".join(f"offsetof({struct}, {field})" for field, _ in fields)
        lines.append(f'printf("%s\\"{struct}\\": {{\\"size\\": %zu, \\"offsets\\": {{{offsets}}}, \\"init\\": \\"", comma, sizeof({struct}), {values});')
        if macro in macros:
            # Static: the padding is zero.
            lines.append(f"{{ static const {struct} init = {macro}; print(&init, sizeof init); }}")
        lines.append('printf("\\"}"); comma = ", ";')
    lines.append('printf("}"); return 0; }')
    with tempfile.TemporaryDirectory() as folder:
        source, program = pathlib.Path(folder, "layouts.c"), pathlib.Path(folder, "layouts")
        source.write_text("\n".join(lines))
        subprocess.run([cc, "-std=c11", "-I", str(include), str(source), "-o", str(program)], check=True)
        return json.loads(subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout)


def write(declarations, layout, stream):
    p = lambda text="": print(text, file=stream)
    p('"""Made by generate.py from the headers of include/eqflow: do not edit."""')
    p("from ctypes import (CFUNCTYPE, POINTER, Structure, c_bool, c_byte, c_char, c_char_p, c_double, c_float, c_int, c_int32, c_int64, c_long,")
    p("                    c_longlong, c_short, c_size_t, c_ubyte, c_uint, c_uint8, c_uint16, c_uint32, c_uint64, c_ulong, c_ulonglong,")
    p("                    c_ushort, c_void_p)")
    p()
    for name, value in declarations.constants.items():
        p(f"{name} = {value}")
    p()
    p("ENUMS = {")
    for name, keys in declarations.enums.items():
        p(f"    {name!r}: {keys!r},")
    p("}")
    p()
    for name in declarations.structs:
        p(f"class {name}(Structure):\n    pass\n\n")
    for name, expression in declarations.callbacks.items():
        p(f"{name} = {expression}")
    p()
    for name, fields in declarations.structs.items():
        if fields is not None:
            p(f"{name}._fields_ = [")
            for field, expression in fields:
                p(f"    ({field!r}, {expression}),")
            p("]")
    p()
    p("# Of each struct what the compiler says: its size, the offsets of its members, the bytes of its EQF_..._INIT.")
    p("LAYOUTS = {")
    for name, row in layout.items():
        p(f"    {name!r}: ({row['size']}, {row['offsets']!r}, {row['init']!r}),")
    p("}")
    p()
    p("# name: (result, arguments)")
    p("FUNCTIONS = {")
    for name, (result, parameters) in declarations.functions.items():
        p(f"    {name!r}: ({result}, [{', '.join(parameters)}]),")
    p("}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--include", required=True, type=pathlib.Path, help="the folder that holds eqflow/eqflow.h")
    parser.add_argument("--cc", default="cc", help="C compiler")
    parser.add_argument("-o", "--output", help="file to write [standard output]")
    options = parser.parse_args()
    headers = sorted(p.name for p in (options.include / "eqflow").glob("*.h") if p.name not in LEFT_OUT)
    declarations = Declarations()
    for statement in statements(own_text(headers, options.include, options.cc)):
        declarations.add(statement)
    layout = layouts(declarations, headers, options.include, options.cc)
    if options.output:
        with open(options.output, "w", encoding="utf-8") as stream:
            write(declarations, layout, stream)
    else:
        write(declarations, layout, sys.stdout)


if __name__ == "__main__":
    main()
