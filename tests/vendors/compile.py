"""Every program of the described devices (platforms/*/*.device), compiled by the devices' own compilers without the hardware.

What each compiler says of a kernel - registers, scratch, local memory, code size - is held against the ceilings in
platforms/<vendor>/*.ceilings. tests/vendors.sh is the way in; its first lines have the options. Standard library only.
"""
import argparse
import concurrent.futures
import fnmatch
import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BITCODE = ["/usr/lib/x86_64-linux-gnu/amdgcn/bitcode", "/opt/rocm/amdgcn/bitcode"]
CLANGS = range(22, 14, -1)


class Skip(Exception):
    """A tool or a target that is not here."""


class Wrong(Exception):
    """What a compiler refused."""


def run(command):
    done = subprocess.run(["nice"] + command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    return done.returncode, done.stdout


def tool(*names):
    for name in names:
        path = shutil.which(name)
        if path:
            return path
    return None


def settings(path):
    values = {}
    for line in open(path, encoding="utf-8"):
        line = line.split("#")[0]
        if "=" in line:
            key, value = line.split("=", 1)
            values[key.strip()] = value.strip()
    return values


def size(text):
    return int(re.sub(r"\D", "", text) or 0)


# ---- Compilers: each is made for a device, compiles a text, and gives {kernel: figures} ------------------------------


class Clang:
    """What NVIDIA's and AMD's have in common: the newest clang here that knows the target."""

    def __init__(self, triple, option, targets):
        if not tool("clang-15", "clang-16", "clang-19", "clang"):
            raise Skip("no clang")
        for target in targets:
            for number in CLANGS:
                clang = tool(f"clang-{number}")
                if clang is None:
                    continue
                code, _ = run([clang, "-x", "cl", "-target", triple] + option(target) + ["-c", "-emit-llvm", "-o", "/dev/null", "-nogpulib",
                                                                                       "-cl-std=CL1.2", "/dev/null"])
                if code == 0:
                    self.clang, self.number, self.target, self.option = clang, number, target, option(target)
                    return
        raise Skip(f"no clang here knows {' or '.join(targets)}")

    def front(self, triple, options, libraries):
        command = [self.clang, "-x", "cl", "-target", triple] + self.option
        command += ["-Xclang", "-finclude-default-header", "-O3", "-nogpulib", "-Werror"] + options
        if "-w" not in options and "USE_DOUBLE" not in options:  # as on a device without fp64: a double literal is then a warning
            command += ["-Xclang", "-cl-ext=-cl_khr_fp64,-__opencl_c_fp64"]
        for library in libraries:
            command += ["-Xclang", "-mlink-builtin-bitcode", "-Xclang", library]
        return command


class Ptxas(Clang):
    triple = "nvptx64-unknown-nvidiacl"

    def __init__(self, device):
        super().__init__(self.triple, lambda target: ["-Xclang", "-target-cpu", "-Xclang", target], device["target"].split())
        libraries = sorted(glob.glob("/usr/lib/clc/nvptx64--nvidiacl.bc") + glob.glob("/usr/lib/llvm-*/share/clc/nvptx64--nvidiacl.bc"))
        if not libraries:
            raise Skip("no libclc with nvptx64--nvidiacl.bc")
        self.libraries = libraries[:1]
        named = os.environ.get("PTXAS")
        found = [named] if named else [tool("ptxas")] + sorted(glob.glob("/usr/local/cuda*/bin/ptxas"))
        cache = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))
        found += sorted(glob.glob(cache + "/eqflow-vendors/nvidia/cuda_nvcc/bin/ptxas"))
        found = [path for path in found if path and os.access(path, os.X_OK)]
        if not found:
            raise Skip("no ptxas")
        for path in found:
            code, text = run([path, "--help"])
            if code == 0 and f"'{self.target}'" in text:
                self.ptxas = path
                break
        else:
            raise Skip(f"no ptxas here knows {self.target}: CUDA 13 dropped it; an older one by PTXAS=... or --fetch")
        version = re.search(r"release ([\d.]+)", run([self.ptxas, "--version"])[1])
        self.name = f"ptxas {version.group(1) if version else '?'}, clang {self.number}"

    def compile(self, text, options, folder):
        ptx, cubin = f"{folder}/program.ptx", f"{folder}/program.cubin"
        code, output = run(self.front(self.triple, options, self.libraries) + ["-S", "-o", ptx, text])
        if code or output:
            raise Wrong(output)
        code, output = run([self.ptxas, f"-arch={self.target}", "-v", "-o", cubin, ptx])
        if code or re.search(r"warning", output):
            raise Wrong(output)
        figures, kernel = {}, None
        for line in output.splitlines():
            start = re.search(r"Compiling entry function '(\w+)'", line)
            if start:
                kernel = figures.setdefault(start.group(1), {"registers": 0, "scratch": 0, "spilled": 0, "local": 0, "code": 0})
            stack = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores", line)
            if stack and kernel is not None:
                kernel["scratch"], kernel["spilled"] = int(stack.group(1)), int(stack.group(2))
            used = re.search(r"Used (\d+) registers", line)
            if used and kernel is not None:
                shared = re.search(r"(\d+)(?:\+\d+)? bytes smem", line)
                kernel["registers"], kernel["local"] = int(used.group(1)), int(shared.group(1)) if shared else 0
        elf = tool("llvm-readelf-19", "llvm-readelf-15", "llvm-readelf-14", "readelf")
        for line in run([elf, "-SW", cubin])[1].splitlines() if elf else []:
            section = re.search(r"\.text\.(\w+)\s+PROGBITS\s+\S+\s+\S+\s+([0-9a-f]+)", line)
            if section and section.group(1) in figures:
                figures[section.group(1)]["code"] = int(section.group(2), 16)
        return figures


class Amdgcn(Clang):
    triple = "amdgcn-amd-amdhsa"

    def __init__(self, device):
        super().__init__(self.triple, lambda target: [f"-mcpu={target}"], device["target"].split())
        folders = [folder for folder in BITCODE if os.path.exists(folder + "/ocml.bc")]
        if not folders:
            raise Skip("no rocm-device-libs")
        self.lld = tool(f"ld.lld-{self.number}", "ld.lld-19", "ld.lld-15", "ld.lld")
        self.readelf = tool(f"llvm-readelf-{self.number}", "llvm-readelf-19", "llvm-readelf-15", "llvm-readelf-14")
        if not self.lld or not self.readelf:
            raise Skip("no ld.lld or llvm-readelf")
        wave64 = device["wave_width"] == "64"
        names = ["opencl", "ocml", "ockl", "oclc_daz_opt_off", "oclc_unsafe_math_off", "oclc_finite_only_off", "oclc_correctly_rounded_sqrt_off",
                 "oclc_wavefrontsize64_" + ("on" if wave64 else "off"), "oclc_abi_version_400"]
        self.libraries = [f"{folders[0]}/{name}.bc" for name in names if os.path.exists(f"{folders[0]}/{name}.bc")]
        self.kept = tempfile.TemporaryDirectory(prefix="eqflow-isa-")  # removed with this object
        self.own = self.kept.name
        self.libraries.append(self.isa(folders[0]))
        self.name = f"clang {self.number} for {self.target}"

    def isa(self, folder):
        """The library that says which instruction set it is: one constant, written here where the installed ones end before it."""
        path = f"{folder}/oclc_isa_version_{self.target[3:]}.bc"
        if os.path.exists(path):
            return path
        digits = self.target[3:]  # gfx942 -> 9402, gfx1100 -> 11000, gfx90a -> 9010
        number = int(digits[:-2]) * 1000 + int(digits[-2], 16) * 100 + int(digits[-1], 16)
        text, own = f"{self.own}/isa.cl", f"{self.own}/isa.bc"
        with open(text, "w", encoding="utf-8") as stream:
            stream.write(f"extern const __constant int __oclc_ISA_version;\nconst __constant int __oclc_ISA_version = {number};\n")
        code, output = run([self.clang, "-x", "cl", "-target", self.triple, f"-mcpu={self.target}", "-nogpulib", "-cl-std=CL2.0", "-emit-llvm", "-c",
                            "-mcode-object-version=4", "-o", own, text])
        if code:
            raise Skip(f"the constant of {self.target} does not compile: {output}")
        return own

    def compile(self, text, options, folder):
        thing, binary = f"{folder}/program.o", f"{folder}/program.hsaco"
        command = self.front(self.triple, options, self.libraries) + ["-mcode-object-version=4", "-c", "-o", thing, text]
        code, output = run(command)
        if code or output:
            raise Wrong(output)
        code, output = run([self.lld, "-flavor", "gnu", "--no-undefined", "-shared", "-o", binary, thing] if "ld.lld" not in self.lld else
                           [self.lld, "--no-undefined", "-shared", "-o", binary, thing])
        if code or output:
            raise Wrong(output)
        figures, keys = {}, {".vgpr_count": "registers", ".private_segment_fixed_size": "scratch", ".vgpr_spill_count": "spilled",
                             ".group_segment_fixed_size": "local"}
        for block in re.split(r"\n\s+- (?=\.(?:agpr_count|args):)", run([self.readelf, "--notes", binary])[1])[1:]:
            name = re.search(r"\n\s+\.name:\s+(\w+)\n\s+\.private_segment_fixed_size", block)
            if name is None:
                continue
            kernel = figures.setdefault(name.group(1), {"registers": 0, "scratch": 0, "spilled": 0, "local": 0, "code": 0})
            for key, word in keys.items():
                value = re.search(r"\n\s+" + re.escape(key) + r":\s+(\d+)", block)
                kernel[word] = int(value.group(1)) if value else 0
        for line in run([self.readelf, "-sW", binary])[1].splitlines():
            symbol = re.search(r"\s(\d+|0x[0-9a-f]+)\s+FUNC\s.*\s(\w+)$", line)
            if symbol and symbol.group(2) in figures:
                figures[symbol.group(2)]["code"] = int(symbol.group(1), 0)
        return figures


class Ocloc:
    def __init__(self, device):
        self.ocloc = tool("ocloc")
        self.objcopy = tool("llvm-objcopy-19", "llvm-objcopy-15", "llvm-objcopy-14", "objcopy")
        if not self.ocloc:
            raise Skip("no ocloc")
        for target in device["target"].split():
            code, _ = run([self.ocloc, "ids", target])
            known = run([self.ocloc, "compile", "--help"])[1]
            if code == 0 or re.search(rf"\b{re.escape(target)}\b", known):
                self.target = target
                break
        else:
            raise Skip(f"ocloc knows none of {device['target']}")
        package = run(["dpkg-query", "-W", "-f", "${Version}", "intel-opencl-icd"])[1]
        self.name = f"ocloc {package.split('-')[0]} for {self.target}"

    def compile(self, text, options, folder):
        code, output = run([self.ocloc, "compile", "-file", text, "-device", self.target, "-options", " ".join(options + ["-Werror"]), "-out_dir",
                            folder, "-output", "program", "-output_no_suffix", "--format", "zebin"])
        # A spill is a figure, held against the ceilings, no mistake of the text.
        spill_line = r"warning: kernel (\w+)\s+compiled SIMD(\d+) allocated \d+ regs and spilled around (\d+)"
        spills = {name: -(-32 * int(count) // int(width)) for name, width, count in re.findall(spill_line, output)}
        output = re.sub(spill_line, "", output)
        if code or "warning" in output or "Build succeeded" not in output:
            raise Wrong(output)
        info = f"{folder}/info"
        run([self.objcopy, "--dump-section", f".ze_info={info}", f"{folder}/program", f"{folder}/copy"])
        figures = {}
        for block in re.split(r"\n  - name: ", open(info, encoding="utf-8").read().split("\nkernels:")[1].split("\nkernels_misc_info:")[0])[1:]:
            name = block.split()[0]
            if name.startswith("Intel_Symbol_Table"):
                continue
            width = int((re.search(r"simd_size:\s+(\d+)", block) or [0, 1])[1])
            buffers = re.search(r"per_thread_memory_buffers:\s*\n((?:      .*\n?)+)", block)  # scratch, and private arrays in global memory
            scratch = 0
            for buffer in re.split(r"- type:", buffers.group(1))[1:] if buffers else []:
                bytes_ = int(re.search(r"\bsize:\s+(\d+)", buffer).group(1))
                scratch += bytes_ if re.search(r"is_simt_thread:\s+true", buffer) else -(-bytes_ // width)  # of a work-item, or of all its thread's
            slm = re.search(r"slm_size:\s+(\d+)", block)
            figures[name] = {"registers": int((re.search(r"grf_count:\s+(\d+)", block) or [0, 0])[1]), "scratch": scratch,
                             "spilled": spills.get(name, 0), "local": int(slm[1]) if slm else 0, "code": 0, "simd": width}
        for line in run([tool("llvm-readelf-19", "llvm-readelf-15", "llvm-readelf-14", "readelf"), "-SW", f"{folder}/program"])[1].splitlines():
            section = re.search(r"\.text\.(\w+)\s+PROGBITS\s+\S+\s+\S+\s+([0-9a-f]+)", line)
            if section and section.group(1) in figures:
                figures[section.group(1)]["code"] = int(section.group(2), 16)
        return figures


COMPILERS = {"ptxas": Ptxas, "amdgcn": Amdgcn, "ocloc": Ocloc}


# ---- Programs --------------------------------------------------------------------------------------------------------


def read_programs(folder):
    """[(case/program, text without what was launched, options, {kernel: group size}, names)], the same text once."""
    programs, seen = [], {}
    for path in sorted(glob.glob(folder + "/*/*.cl")):
        lines = open(path, encoding="utf-8").read().split("\n", 2)
        options, launched, text = lines[0][len("// options: "):], lines[1][len("// launched: "):], lines[2]
        groups = {name: int(count) for name, count in (item.split("=") for item in launched.split())}
        key = hashlib.sha256((options + "\n" + text).encode()).hexdigest()
        name = os.path.relpath(path, folder)[:-len(".cl")]
        if key in seen:
            programs[seen[key]][3].update(groups)
            programs[seen[key]][4].append(name)
            continue
        seen[key] = len(programs)
        programs.append([name, text, options, groups, [name]])
    return programs


def bare_inline(text):
    """A function that is inline and not static, by name: C99 has no definition to link of one that is not inlined."""
    for line in text.splitlines():
        found = re.match(r"\s*(?:__attribute__\(\(.*?\)\)\s*)?inline\b.*?(\w+)\(", line)
        if found:
            return found.group(1)
    return None


def cached_path(compiler, text, options):
    """Where the figures of a program are kept: they depend on its text, its options, the compiler and this script alone."""
    cache = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")) + "/eqflow-vendors/figures"
    with open(os.path.abspath(__file__), "rb") as stream:
        # The part of this script that compiles; tables and ceilings may change without another compilation.
        script = stream.read().split(b"# ---- Programs ---")[0]
    key = hashlib.sha256(b"\0".join([script, compiler.name.encode(), compiler.target.encode(), options.encode(), text.encode()])).hexdigest()
    return f"{cache}/{key}.json"


def compile_one(compiler, program, folder):
    name, text, options = program[:3]
    os.makedirs(folder)
    path = folder + "/program.cl"
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text)
    function = bare_inline(text)
    if function:
        return name, None, f"{function} is inline and not static"
    kept = cached_path(compiler, text, options)
    if os.path.exists(kept):
        with open(kept, encoding="utf-8") as stream:
            return name, json.load(stream), ""
    try:
        figures = compiler.compile(path, options.split(), folder)
        os.makedirs(os.path.dirname(kept), exist_ok=True)
        part = f"{kept}.{os.getpid()}"
        with open(part, "w", encoding="utf-8") as stream:
            json.dump(figures, stream)
        os.replace(part, kept)
        return name, figures, ""
    except Wrong as wrong:
        lines = [line for line in str(wrong).splitlines() if re.search(r"error|warning|fatal|[Uu]nresolved|undefined|too much|exceed", line)]
        return name, None, " | ".join(lines[:3]) or str(wrong)[-300:]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# ---- Figures ---------------------------------------------------------------------------------------------------------


def read_ceilings(vendor):
    """[(device pattern, kernel pattern, bytes)] of platforms/<vendor>/*.ceilings."""
    lines = []
    for path in sorted(glob.glob(f"{ROOT}/platforms/{vendor}/*.ceilings")):
        for line in open(path, encoding="utf-8"):
            line = line.split("#")[0].strip()
            if line:
                where, value = line.split("=")
                device, kernel = where.split()
                lines.append((device, kernel, int(value)))
    return lines


def ceiling(lines, device, kernel):
    """The last line that fits; without one, no scratch at all."""
    value = 0
    for of_device, of_kernel, most in lines:
        if fnmatch.fnmatchcase(device, of_device) and fnmatch.fnmatchcase(kernel, of_kernel):
            value = most
    return value


def occupancy(device, figures, group):
    """Part of the waves that a unit could hold, by registers and local memory; None where the description does not say."""
    if "waves_per_unit" not in device or not group or device["compiler"] == "ocloc":  # there each thread has all its registers
        return None
    width, most = int(device["wave_width"]), int(device["waves_per_unit"])
    granule = int(device["register_granule"])
    each = -(-max(figures["registers"], 1) // granule) * granule * width
    waves_of_group = -(-group // width)
    groups = min(most, int(device["registers_per_unit"]) // each) // waves_of_group
    if figures["local"]:
        groups = min(groups, int(device["local_memory_per_unit"]) // figures["local"])
    return min(1.0, groups * waves_of_group / most)


def set_ceilings(vendor, found):
    """Raises the vendor's ceilings to what was found and a quarter more, in steps of 64 bytes; lines that are higher stay."""
    path = f"{ROOT}/platforms/{vendor}/{vendor}.ceilings"
    lines = {kernel: most for device, kernel, most in read_ceilings(vendor)}
    for kernel, worst in found.items():
        lines[kernel] = max(lines.get(kernel, 0), -(-worst * 5 // 4 // 64) * 64)
    head = [line for line in open(path, encoding="utf-8") if line.startswith("#")] if os.path.exists(path) else []
    with open(path, "w", encoding="utf-8") as stream:
        stream.writelines(head)
        for kernel, most in sorted(lines.items()):
            stream.write(f"* {kernel} = {most}\n")


def check_device(path, arguments, rows, needed):
    """(programs, kernels, complaints, name of the compiler); rows gets one dictionary a kernel, needed the scratch that was found."""
    device, vendor, short = settings(path), os.path.basename(os.path.dirname(path)), os.path.basename(path)[:-len(".device")]
    compiler = COMPILERS[device["compiler"]](device)
    ceilings, complaints, num_kernels = read_ceilings(vendor), [], 0
    found = needed.setdefault(vendor, {})
    with tempfile.TemporaryDirectory() as folder:
        programs_folder = folder + "/programs"
        os.mkdir(programs_folder)
        code, output = run([arguments.assemble, path, programs_folder] + ([arguments.cases] if arguments.cases else []))
        if code:
            raise Wrong(output)
        for line in output.splitlines():
            if line.startswith("refused"):
                print(f"  {line}")
        programs = read_programs(programs_folder)
        with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
            results = list(pool.map(lambda item: compile_one(compiler, item[1], f"{folder}/{item[0]}"), enumerate(programs)))
    for program, (name, figures, message) in zip(programs, results):
        if figures is None:
            complaints.append(f"{name}: {message}")
            continue
        if not figures:
            complaints.append(f"{name}: the compiler said nothing of its kernels")
        for kernel, values in sorted(figures.items()):
            where = f"{name}:{kernel}"
            num_kernels += 1
            group = program[3].get(kernel, 0)
            rows.append({"device": short, "kernel": where, "group": group, "occupancy": occupancy(device, values, group), **values})
            most = max(ceiling(ceilings, short, f"{other}:{kernel}") for other in program[4])
            worst = max(values["scratch"], values["spilled"])
            if worst:
                found[where] = max(worst, found.get(where, 0))
            if max(values["scratch"], values["spilled"]) > most:
                complaints.append(f"{where}: {values['scratch']} bytes of scratch, {values['spilled']} spilled, {most} allowed")
            if values["local"] >= int(device["local_memory_bytes"]):  # all of it: drivers keep some for themselves
                complaints.append(f"{where}: {values['local']} bytes of local memory, the device has {device['local_memory_bytes']}")
    return len(programs), num_kernels, complaints, compiler.name


# ---- The table -------------------------------------------------------------------------------------------------------

SHOWN = ["h200", "mi300x", "rx6900", "rx7900", "arc-a770"]


def cell(row):
    if row is None:
        return "-"
    text = f"{row['registers']}"
    if row["scratch"] or row["spilled"]:
        text += f" + {row['scratch']} B"
    if row["local"]:
        text += f", {row['local'] / 1024:.1f} K"
    if row["occupancy"] is not None:
        text += f", {100 * row['occupancy']:.0f} %"
    return text


def table(rows, summary):
    lines = ["| device | compiler | programs | kernels | with scratch | most registers | refused or over a ceiling |",
             "|---|---|---|---|---|---|---|"] + summary + [""]
    by_place = {(row["device"], row["kernel"]): row for row in rows}
    lines += ["| kernel | " + " | ".join(SHOWN) + " |", "|---|" + "---|" * len(SHOWN)]
    hot = re.compile(r"^(dw4|lj13|lj55)\.(radial-(table|direct|dopri5)|mcmc|minima|energy|message[\w-]*)/"
                     r"(trajectory|trajectory_adjoint|dormand_prince\w*|mcmc|minima|potential|message\w*):"
                     r"(trajectory|trajectory_adjoint|adaptive_steps|mcmc_sweeps|quench_steps|quench_hessian|evaluate_force|message\w*)$")
    for kernel in sorted({row["kernel"] for row in rows if hot.match(row["kernel"])}):
        lines.append(f"| `{kernel}` | " + " | ".join(cell(by_place.get((device, kernel))) for device in SHOWN) + " |")
    return "\n".join(lines)


def write_table(text):
    path = ROOT + "/docs/devices.md"
    page = open(path, encoding="utf-8").read()
    begin, end = "<!-- vendors begins: written by tests/vendors.sh -->", "<!-- vendors ends -->"
    head, tail = page.index(begin) + len(begin), page.index(end)
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(page[:head] + "\n" + text + "\n" + page[tail:])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--assemble", required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--cases", default="")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--csv", default="")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--set-ceilings", action="store_true")
    arguments = parser.parse_args()
    rows, summary, needed, num_bad, num_done, num_skipped = [], [], {}, 0, 0, 0
    for path in sorted(glob.glob(ROOT + "/platforms/*/*.device")):
        short = os.path.basename(path)[:-len(".device")]
        if not re.search(arguments.only, short):
            continue
        try:
            num_programs, num_kernels, complaints, compiler = check_device(path, arguments, rows, needed)
        except Skip as reason:
            num_skipped += 1
            print(f"{short}: skipped: {reason}")
            summary.append(f"| {short} | skipped: {reason} | - | - | - | - | - |")
            continue
        mine = [row for row in rows if row["device"] == short]
        print(f"{short}: {compiler}: {num_programs} programs, {num_kernels} kernels, {len(complaints)} complaints", flush=True)
        for line in complaints:
            print(f"  {line}")
        num_bad += len(complaints)
        num_done += 1
        with_scratch = sum(1 for row in mine if row["scratch"] or row["spilled"])
        summary.append(f"| {short} | {compiler} | {num_programs} | {num_kernels} | {with_scratch} | {max((r['registers'] for r in mine), default=0)} | "
                       f"{len(complaints)} |")
    if arguments.csv:
        with open(arguments.csv, "w", encoding="utf-8") as stream:
            stream.write("device,kernel,group,registers,scratch,spilled,local,code,occupancy\n")
            for row in rows:
                part = "" if row["occupancy"] is None else f"{row['occupancy']:.3f}"
                stream.write(",".join(str(row[key]) for key in ("device", "kernel", "group", "registers", "scratch", "spilled", "local", "code")) +
                             f",{part}\n")
    if arguments.set_ceilings:
        for vendor, found in needed.items():
            set_ceilings(vendor, found)
    if arguments.write:
        write_table(table(rows, summary))
    print(f"{num_done} devices compiled for, {num_skipped} skipped, {num_bad} complaints")
    sys.exit(1 if num_bad else 77 if num_done == 0 else 0)


if __name__ == "__main__":
    main()
