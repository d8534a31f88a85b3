# The few commands that one needs. Each installs what is missing first (tools/install-deps).
.PHONY: run build test bench format clean

run:
	@tools/install-deps
	@cmake --preset release --log-level=WARNING
	@cmake --build --preset release --target holdfast_cli
	@tools/main-job

build:
	@tools/install-deps
	@cmake --preset release --log-level=WARNING
	@cmake --build --preset release

test:
	@tools/install-deps --tests
	@tools/run_tests.py

bench: build
	@build/release/holdfast bench

format:
	@tools/install-deps --tests
	@find include src testing tests examples -name '*.h' -o -name '*.cc' | xargs clang-format -i

clean:
	@rm -rf build
