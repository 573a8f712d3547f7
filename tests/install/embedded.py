#!/usr/bin/env python3
# embedded.py: the ways into firmware: a Zephyr module, a component of ESP-IDF, a copied folder.
#
# usage: embedded.py ROOT [COMPILER-FOLDER]
# Always: the YAML files say what those systems read, and the build files name every source of
# lib/apply. With a folder to build in: both build files are run by CMake with stand-ins for the
# functions of Zephyr and ESP-IDF, and lib/apply alone, copied, is compiled; each with the Arm
# compiler, and linked with a driver in C without libstdc++.
# SPDX-License-Identifier: Apache-2.0
import pathlib
import shutil
import subprocess
import sys

import yaml

STAND_INS = '''cmake_minimum_required(VERSION 3.21)
project(embedded C CXX)
set(CONFIG_TENSORPATCH y)
set(CONFIG_TENSORPATCH_FLASH y)
set(CONFIG_TENSORPATCH_SLOTS y)
function(zephyr_library_named name)
  add_library(${name} STATIC)
  set(current ${name} PARENT_SCOPE)
endfunction()
function(zephyr_library_sources)
  target_sources(${current} PRIVATE ${ARGN})
endfunction()
function(zephyr_library_sources_ifdef option)
  if(${option})
    target_sources(${current} PRIVATE ${ARGN})
  endif()
endfunction()
function(zephyr_library_compile_options)
  target_compile_options(${current} PRIVATE ${ARGN})
endfunction()
function(zephyr_include_directories)
  target_include_directories(${current} PUBLIC ${ARGN})
endfunction()
function(idf_component_register)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "" "SRCS;INCLUDE_DIRS")
  add_library(idf_tensorpatch STATIC ${arg_SRCS})
  target_include_directories(idf_tensorpatch PUBLIC ${arg_INCLUDE_DIRS})
  set(COMPONENT_LIB idf_tensorpatch PARENT_SCOPE)
endfunction()
include(${ROOT}/zephyr/CMakeLists.txt)
include(${ROOT}/examples/esp_idf/tensorpatch/CMakeLists.txt)
file(GLOB copied ${COPY}/*.cc)
add_library(copied STATIC ${copied})
target_include_directories(copied PUBLIC ${COPY}/include)
target_compile_features(copied PRIVATE cxx_std_20)
target_compile_options(copied PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fno-exceptions> -fno-rtti)
foreach(library IN ITEMS tensorpatch idf_tensorpatch copied)
  add_executable(driver_${library} ${ROOT}/tests/device/smallest_driver.c)
  target_compile_definitions(driver_${library} PRIVATE
    "CODECS=&tensorpatch_codec_values,&tensorpatch_codec_bytes,")
  set_target_properties(driver_${library} PROPERTIES LINKER_LANGUAGE C)
  target_link_libraries(driver_${library} PRIVATE ${library})
  target_link_options(driver_${library} PRIVATE --specs=nosys.specs --specs=nano.specs)
endforeach()
'''


def expect(holds, what):
    if not holds:
        raise SystemExit(f'FAILED: {what}')


def check_files(root):
    module = yaml.safe_load((root / 'zephyr/module.yml').read_text())
    expect(module['name'] == 'tensorpatch', 'the module has a name')
    expect((root / module['build']['cmake'] / 'CMakeLists.txt').is_file(), 'its CMake file exists')
    options = (root / module['build']['kconfig']).read_text()
    component = root / 'examples/esp_idf/tensorpatch'
    about = yaml.safe_load((component / 'idf_component.yml').read_text())
    version = f'VERSION {about["version"]}'
    expect(version in (root / 'CMakeLists.txt').read_text(), 'the component has our version')
    expect('idf' in about['dependencies'], 'the component names the ESP-IDF that it needs')
    sources = sorted(path.name for path in (root / 'lib/apply').glob('*.cc'))
    expect(len(sources) >= 7, 'lib/apply has sources')
    for build_file in [root / 'zephyr/CMakeLists.txt', component / 'CMakeLists.txt']:
        text = build_file.read_text()
        for source in sources:
            expect(f'/apply/{source}' in text, f'{build_file} names {source}')
        for word in text.replace(')', ' ').replace('}', ' ').split():
            if word.startswith('CONFIG_'):
                expect(f'config {word.removeprefix("CONFIG_")}\n' in options,
                       f'{word} is an option of zephyr/Kconfig')


def compile_all(root, folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copytree(root / 'lib/apply', folder / 'copy')
    (folder / 'CMakeLists.txt').write_text(STAND_INS)
    subprocess.run(['cmake', '-S', folder, '-B', folder / 'build', f'-DROOT={root}',
                    f'-DCOPY={folder}/copy', '-DCMAKE_BUILD_TYPE=MinSizeRel',
                    f'-DCMAKE_TOOLCHAIN_FILE={root}/cmake/toolchains/arm-none-eabi.cmake'],
                   check=True, stdout=subprocess.DEVNULL)
    subprocess.run(['cmake', '--build', folder / 'build', '-j2'], check=True)
    for library in ['tensorpatch', 'idf_tensorpatch', 'copied']:
        expect((folder / 'build' / f'driver_{library}').is_file(), f'{library} links')


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    check_files(root)
    if len(sys.argv) > 2:
        compile_all(root, pathlib.Path(sys.argv[2]).resolve())


if __name__ == '__main__':
    main()
