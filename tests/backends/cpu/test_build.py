"""Building kernels: once, however many ask; whatever state the cache is in; with the user's words when it fails."""

import errno
import os
import shutil
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch

from gateflow import Recurrent, cells
from gateflow.backends import cache
from gateflow.backends.cpu import build as building
from gateflow.backends.cpu import toolchain
from gateflow.backends.cpu.build import build, cache_directory, load
from gateflow.backends.cpu.kernel import COSTS, Kernel
from gateflow.compiler import compile_cell
from gateflow.errors import BuildError, CacheWarning, ReferencePathWarning

compiler = next((path for name in toolchain.LOOKED_FOR if (path := shutil.which(name))), None)
needs_compiler = pytest.mark.skipif(compiler is None, reason="no C++ compiler on the PATH")

DOUBLED = 'extern "C" int doubled(int a) { return 2 * a; }\n'


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("GATEFLOW_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CXX", raising=False)
    building._toolchain.cache_clear()
    building._failed.clear()
    yield tmp_path / "cache"
    building._toolchain.cache_clear()


@pytest.fixture
def compiler_that(monkeypatch, tmp_path):
    """Make CXX a script that runs these lines, and then the real compiler."""

    def make(lines):
        script = tmp_path / "compiler"
        script.write_text(f'#!/bin/sh\n{textwrap.dedent(lines)}\nexec {compiler} "$@"\n')
        script.chmod(0o700)
        monkeypatch.setenv("CXX", str(script))

    return make


def works(library):
    return load(library).doubled(21) == 42


@needs_compiler
class TestBuild:
    def test_a_second_asking_finds_the_first(self, compiler_that, tmp_path):
        compiler_that(f'echo "$@" >> {tmp_path}/calls')
        library = build(DOUBLED)
        assert works(library)
        calls = (tmp_path / "calls").read_text()
        assert build(DOUBLED) == library
        assert (tmp_path / "calls").read_text() == calls

    def test_whatever_the_result_depends_on_makes_another_library(self, monkeypatch, tmp_path):
        libraries = {build(DOUBLED), build(DOUBLED + "\n"), build(DOUBLED, extra_flags=("-DNAME",))}
        shutil.copytree(building.NATIVE, tmp_path / "native")
        with (tmp_path / "native" / "vector.h").open("a") as header:
            header.write("// changed\n")
        with monkeypatch.context() as patch:
            patch.setattr(building, "NATIVE", tmp_path / "native")
            libraries.add(build(DOUBLED))
        with monkeypatch.context() as patch:
            patch.setattr(building, "cpu_flags", lambda: frozenset({"another_processor"}))
            libraries.add(build(DOUBLED))
        assert len(libraries) == 5

    def test_what_is_kept_is_the_users_alone(self, folder):
        library = build(DOUBLED)
        assert library.with_suffix(".cpp").read_text() == DOUBLED
        for path in (folder, *folder.iterdir()):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
        assert not list(folder.glob("*.part"))
        assert not list(folder.glob("*.o"))

    def test_a_text_that_is_no_cpp_is_kept_and_named(self, folder):
        with pytest.raises(
            BuildError, match=r"could not compile .*\.cpp \(exit code 1\):\n.*error: .*nonsense"
        ) as caught:
            build("int f() { return nonsense; }")
        (named,) = (path for path in folder.glob("*.cpp") if str(path) in str(caught.value))
        assert "nonsense" in named.read_text()
        assert not list(folder.glob("*.part"))

    def test_the_headers_are_found(self):
        library = load(build('#include "vector.h"\nextern "C" int width() { return gateflow::lanes<float>; }'))
        assert library.width() in (4, 8, 16)

    def test_warnings_are_errors(self):
        with pytest.raises(BuildError, match="unused-variable"):
            build("void f() { int a; }")

    def test_a_compiler_that_hangs_is_stopped(self, compiler_that, monkeypatch):
        compiler_that('[ "$1" = --version ] || exec sleep 60')
        monkeypatch.setattr(toolchain, "SECONDS", 0.2)
        with pytest.raises(BuildError, match=r"took longer than 0\.2 s to compile"):
            build(DOUBLED)

    def test_twenty_processes_build_once(self, compiler_that, tmp_path):
        compiler_that(f'case "$*" in *" -c "*) echo "$@" >> {tmp_path}/calls;; esac')
        script = f"""
            import os
            from gateflow.backends.cpu.build import build, load
            children = []
            for _ in range(20):
                if not (child := os.fork()):
                    os._exit(0 if load(build({DOUBLED!r})).doubled(21) == 42 else 1)
                children.append(child)
            assert [os.waitpid(child, 0)[1] for child in children] == [0] * 20
        """
        subprocess.run([sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)], check=True, timeout=300)
        assert len((tmp_path / "calls").read_text().splitlines()) == 2, "the trial and the kernel"


@needs_compiler
class TestCacheThatIsAmiss:
    @pytest.mark.parametrize("damage", ["truncated", "emptied", "unsigned"])
    def test_a_damaged_library_is_built_again(self, damage):
        library = build(DOUBLED)
        whole = library.read_bytes()
        if damage == "unsigned":
            library.with_suffix(".sha256").unlink()
        else:
            library.write_bytes(whole[: len(whole) // 2 if damage == "truncated" else 0])
        assert build(DOUBLED) == library
        assert library.read_bytes() == whole
        assert works(library)

    @pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC, errno.EACCES])
    def test_where_nothing_can_be_written_kernels_live_in_a_directory_of_the_process(self, code, folder, monkeypatch):
        opened = os.open

        def refuse(path, flags, *mode, **more):
            if flags & os.O_EXCL and Path(path).is_relative_to(folder):
                raise OSError(code, os.strerror(code))
            return opened(path, flags, *mode, **more)

        monkeypatch.setattr(os, "open", refuse)
        with pytest.warns(
            CacheWarning, match=rf"{folder} cannot be used \({os.strerror(code)}\).*set GATEFLOW_CACHE"
        ) as said:
            library = build(DOUBLED)
        assert len(said) == 1
        assert not library.is_relative_to(folder)
        assert works(library)

    def test_a_read_only_cache_gives_what_it_has(self, monkeypatch):
        library = build(DOUBLED)
        monkeypatch.setattr(cache, "_make", lambda *_: pytest.fail("built again"))
        monkeypatch.setattr(cache, "FileLock", lambda *_, **__: pytest.fail("locked"))
        assert build(DOUBLED) == library

    def test_a_disk_that_fills_up_while_compiling_is_no_fault_of_the_text(self, compiler_that, folder):
        compiler_that(f'case "$*" in *{folder}*) echo "x.o: No space left on device" >&2; exit 1;; esac')
        with pytest.warns(CacheWarning, match="No space left on device"):
            assert works(build(DOUBLED))

    def test_no_space_anywhere_is_told(self, compiler_that, folder):
        compiler_that('[ "$1" = --version ] || { echo "No space left on device" >&2; exit 1; }')
        message = rf"neither in {folder} \(No space .*\) nor in a temporary directory \(No space left on device\)"
        with pytest.raises(BuildError, match=message):
            build(DOUBLED)

    def test_a_directory_of_another_user_is_not_trusted(self, folder, monkeypatch):
        if os.getuid():
            folder = "/usr"
            monkeypatch.setenv("GATEFLOW_CACHE", folder)
        else:
            folder.mkdir(mode=0o700)
            os.chown(folder, 12345, -1)
        with pytest.warns(CacheWarning, match=rf"{folder} belongs to user \d+, not to user {os.getuid()}"):
            assert works(build(DOUBLED))

    def test_a_directory_that_others_can_write_to_is_not_trusted(self, folder):
        folder.mkdir()
        folder.chmod(0o777)
        with pytest.warns(CacheWarning, match=rf"can be written by other users \(mend it by: chmod 700 {folder}\)"):
            assert works(build(DOUBLED))
        assert not list(folder.iterdir())

    def test_a_library_that_others_can_write_to_is_not_loaded(self):
        library = build(DOUBLED)
        library.chmod(0o666)
        with pytest.raises(BuildError, match="can be written by other users"):
            load(library)

    def test_what_is_no_library_is_told(self, tmp_path):
        text = tmp_path / "kernel.so"
        text.write_text("no library")
        with pytest.raises(BuildError, match=r"kernel\.so cannot be loaded: .*Set GATEFLOW_CACHE"):
            load(text)


DAMAGE = {
    "bytes that are no letters": lambda path: path.write_bytes(b"\xff"),
    "nothing in it": lambda path: path.write_bytes(b""),
    "other words": lambda path: path.write_text("0" * 64),
    "gone": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir(), (path / "file").touch()),
    "a link to nothing": lambda path: (path.unlink(), path.symlink_to("nowhere")),
    "a link to itself": lambda path: (path.unlink(), path.symlink_to(path)),
    "a link to a file": lambda path: (path.rename(path.with_name("other")), path.symlink_to("other")),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "written by all": lambda path: path.chmod(0o666),
    "for nobody": lambda path: path.chmod(0),
}


@needs_compiler
class TestDamage:
    @pytest.mark.parametrize("suffix", [".so", ".sha256", ".cpp", ".lock"])
    @pytest.mark.parametrize("damage", DAMAGE)
    def test_whatever_happens_to_a_file_the_kernel_is_built_again(self, folder, damage, suffix):
        library = build(DOUBLED)
        file = library.with_suffix(suffix)
        file.touch()
        DAMAGE[damage](file)
        if suffix in (".cpp", ".lock"):
            library.unlink()
        assert build(DOUBLED) == library
        assert works(library)
        for path in (library, library.with_suffix(".sha256"), library.with_suffix(".cpp")):
            assert stat.S_ISREG(path.lstat().st_mode)
            assert stat.S_IMODE(path.lstat().st_mode) & 0o077 == 0
        assert set(library.parent.glob(".*")) == set()

    def test_a_link_in_the_place_of_a_source_is_not_written_through(self, folder, tmp_path):
        library = build(DOUBLED)
        (tmp_path / "victim").write_text("mine")
        for suffix in (".so", ".cpp", ".sha256", ".lock"):
            library.with_suffix(suffix).unlink(missing_ok=True)
            library.with_suffix(suffix).symlink_to(tmp_path / "victim")
        assert works(build(DOUBLED))
        assert (tmp_path / "victim").read_text() == "mine"

    def test_what_is_not_finished_is_private(self, compiler_that, tmp_path, monkeypatch):
        compiler_that(
            f'case "$*" in *" -c "*) for f; do :; done; stat -c %a "$(dirname "$f")" > {tmp_path}/mode;; esac'
        )
        assert works(build(DOUBLED))
        assert (tmp_path / "mode").read_text() == "700\n"

    def test_what_a_killed_builder_left_is_removed_by_the_next(self, folder, compiler_that, monkeypatch):
        building.toolchain()
        old = folder / f"{'a' * 64}-x1y2.part"
        old.touch()
        os.utime(old, (0, 0))
        compiler_that('case "$*" in *" -c "*) touch "$0.began"; exec sleep 60;; esac')
        began = Path(f"{os.environ['CXX']}.began")
        script = f"""
            import os
            from gateflow.backends.cpu import build as building
            building._build(building.Toolchain(os.environ["CXX"], "", (), (), ""), {DOUBLED!r}, ())
        """
        with subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)]) as builder:
            while not began.exists():
                assert builder.poll() is None
                time.sleep(0.01)
            (left,) = folder.glob(".gateflow-*.build")
            monkeypatch.delenv("CXX")
            build(DOUBLED + "// while it is being built")
            assert left.exists()
            builder.kill()
        library = build(DOUBLED)
        assert works(library)
        assert not left.exists()
        assert not old.exists()

    def test_a_directory_in_which_nothing_can_be_run_is_told_once(self, folder, monkeypatch):
        loaded = cache.ctypes.CDLL

        def refuse(name, *more):
            if Path(name).is_relative_to(folder):
                raise OSError(f"{name}: failed to map segment from shared object")
            return loaded(name, *more)

        monkeypatch.setattr(cache.ctypes, "CDLL", refuse)
        with pytest.warns(CacheWarning, match="failed to map segment.* and run from") as said:
            libraries = [build(DOUBLED), build(DOUBLED + "\n")]
        assert len(said) == 1
        assert all(works(library) for library in libraries)

    def test_what_cannot_be_built_is_tried_once_in_a_process(self, compiler_that, tmp_path):
        compiler_that(f'case "$*" in *TWICE*) echo x >> {tmp_path}/calls; exit 1;; esac')
        for _ in range(3):
            with pytest.raises(BuildError, match="could not compile"):
                build(DOUBLED, extra_flags=("-DTWICE",))
        assert (tmp_path / "calls").read_text() == "x\n"


WRONG = {
    "blanks and no compiler": (" ", ""),
    "a quotation mark": ("c++ '", ""),
    "not there": ("no-such-compiler", ""),
    "a folder": ("/usr", ""),
    "does nothing": ("true", ""),
    "fails": ("false", ""),
    "repeats": ("echo", ""),
    "reads its input": ("cat", ""),
    "no program": (None, "\x7fELF"),
    "garbage": (None, "#!/bin/sh\nprintf '\\377\\033[2J\\000'\n"),
    "no end of garbage": (None, "#!/bin/sh\nexec yes\n"),
    "hangs": (None, "#!/bin/sh\nsleep 60 & sleep 60\n"),
    "hangs later": (None, '#!/bin/sh\n[ "$1" = --version ] || sleep 60\n'),
    "kills itself": (None, "#!/bin/sh\nkill -9 $$\n"),
    "a library that is none": (None, '#!/bin/sh\nfor f; do :; done\ncase "$f" in -*) ;; *) echo no > "$f";; esac\n'),
}


class TestCompilerThatIsNone:
    @pytest.mark.parametrize("name", WRONG)
    def test_a_layer_runs_on_the_loop_and_says_why_once(self, name, monkeypatch, tmp_path):
        compiler, script = WRONG[name]
        if script:
            compiler = str(tmp_path / "compiler")
            Path(compiler).write_text(script)
            Path(compiler).chmod(0o700)
        if name.startswith("blanks"):
            monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setenv("CXX", compiler)
        monkeypatch.setattr(toolchain, "SECONDS", 1.0)
        layer = Recurrent("full_gru", 3, 4)
        with pytest.warns(ReferencePathWarning, match="right but slow") as said:
            layer(torch.randn(2, 1, 3))
        assert [warning.category for warning in said] == [ReferencePathWarning]
        assert str(said[0].message).replace("\n", "").isprintable()

    @needs_compiler
    def test_a_kernel_knows_why_it_cannot_be_built(self, compiler_that, tmp_path):
        compiler_that(f'case "$*" in *GATEFLOW_REAL=double*) echo x >> {tmp_path}/calls; exit 1;; esac')
        kernel = Kernel(
            compile_cell(cells.get("elman")(3, 4)).programs(COSTS)
        )  # of its own: that of the process may be built
        for _ in range(2):
            assert "could not compile" in kernel.obstacle("infer", torch.float64)
        assert (tmp_path / "calls").read_text() == "x\n"
        assert kernel.obstacle("infer", torch.float32) is None

    @needs_compiler
    def test_a_compiler_that_is_mended_is_believed_again(self, monkeypatch, tmp_path):
        script = tmp_path / "compiler"
        script.write_text(WRONG["a library that is none"][1])
        script.chmod(0o700)
        monkeypatch.setenv("CXX", str(script))
        with pytest.raises(BuildError):
            building.toolchain()
        script.write_text(f'#!/bin/sh\nexec {compiler} "$@"\n')
        building._toolchain.cache_clear()
        building._failed.clear()
        assert works(build(DOUBLED))


@needs_compiler
class TestThreads:
    def test_kernels_and_torch_share_one_openmp(self):
        script = """
            import torch
            from gateflow.backends.cpu.build import TRIAL, build, load
            torch.set_num_threads(2)
            torch.ones(300, 300) @ torch.ones(300, 300) + torch.ones(300, 300).exp()
            assert load(build(TRIAL)).threads(2) == 2
            with open("/proc/self/maps") as maps:
                print(*{line.split()[-1] for line in maps if "libgomp" in line or "omp5" in line or "libomp" in line})
        """
        if not sys.platform.startswith("linux"):
            pytest.skip("libraries of a process are read from /proc")
        run = [sys.executable, "-c", textwrap.dedent(script)]
        found = subprocess.run(run, check=True, capture_output=True, text=True, timeout=300).stdout
        assert len(found.split()) == 1, found

    def test_where_torch_offers_no_openmp_the_compilers_own_is_linked(self, monkeypatch):
        attempts = []

        def load_at_second(library):
            attempts.append(library)
            if len(attempts) == 1:
                raise BuildError("undefined symbol: GOMP_parallel")
            return load(library)

        monkeypatch.setattr(building, "load", load_at_second)
        assert "-fopenmp" in building.toolchain().link

    def test_a_compiler_without_openmp_gets_threads_of_the_standard_library(self, compiler_that):
        compiler_that('case "$*" in *-fopenmp*) echo "error: unsupported option -fopenmp" >&2; exit 1;; esac')
        tools = building.toolchain()
        assert "-DGATEFLOW_STD_THREADS" in tools.flags
        assert "-fopenmp" not in (*tools.flags, *tools.link)
        assert works(build(DOUBLED))


class TestFinding:
    def test_no_compiler(self, monkeypatch, tmp_path):
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(BuildError, match=r"none of c\+\+, g\+\+, clang\+\+ is on the PATH. Install g\+\+"):
            building.toolchain()

    def test_a_cxx_that_is_not_there(self, monkeypatch):
        monkeypatch.setenv("CXX", "no-such-compiler -O1")
        with pytest.raises(BuildError, match="CXX names 'no-such-compiler -O1', which is not there"):
            build(DOUBLED)

    @needs_compiler
    def test_a_cxx_may_have_arguments_and_is_looked_at_each_time(self, monkeypatch):
        first = building.toolchain()
        monkeypatch.setenv("CXX", f"{compiler} -DNAME=3")
        assert building.toolchain().command == f"{compiler} -DNAME=3"
        assert load(build('extern "C" int f() { return NAME; }')).f() == 3
        monkeypatch.delenv("CXX")
        assert building.toolchain() == first

    def test_where_kernels_are_kept(self, monkeypatch, tmp_path):
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        monkeypatch.setenv("GATEFLOW_CACHE", "~/own")
        assert cache_directory() == tmp_path / "own"
        monkeypatch.delenv("GATEFLOW_CACHE")
        assert cache_directory() == tmp_path / "xdg" / "gateflow"
        monkeypatch.delenv("XDG_CACHE_HOME")
        assert cache_directory() == tmp_path / ".cache" / "gateflow"
