# cmake/packaging/debian_files.cmake: makes the staged files of the packages what Debian's policy
# wants. Run by cpack before it packs; SOURCE_DATE_EPOCH sets the date of the changelog.
# SPDX-License-Identifier: Apache-2.0
string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)
get_filename_component(source ${CMAKE_CURRENT_LIST_DIR}/../.. ABSOLUTE)

function(compress)
  execute_process(COMMAND gzip -9n ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
  foreach(file IN LISTS ARGN)
    file(CHMOD ${file}.gz PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
  endforeach()
endfunction()

foreach(pair IN ITEMS program=tensorpatch development=libtensorpatch-dev)
  string(REGEX MATCH "^(.*)=(.*)$" pair ${pair})
  set(prefix ${CPACK_TEMPORARY_DIRECTORY}/${CMAKE_MATCH_1}/usr)
  set(name ${CMAKE_MATCH_2})
  set(doc ${prefix}/share/doc/${name})
  file(REMOVE ${doc}/LICENSE)  # named by the copyright file
  configure_file(${CMAKE_CURRENT_LIST_DIR}/copyright ${doc}/copyright COPYONLY
                 NO_SOURCE_PERMISSIONS)
  file(WRITE ${doc}/changelog.Debian
"${name} (${CPACK_PACKAGE_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE}) unstable; urgency=medium

  * Release ${CPACK_PACKAGE_VERSION}; what changed is in changelog.gz.

 -- ${CPACK_DEBIAN_PACKAGE_MAINTAINER}  ${date}
")
  configure_file(${source}/CHANGELOG.md ${doc}/changelog COPYONLY NO_SOURCE_PERMISSIONS)
  compress(${doc}/changelog ${doc}/changelog.Debian)
  file(GLOB manuals ${prefix}/share/man/man1/*.1)
  if(manuals)
    compress(${manuals})
  endif()
  if(EXISTS ${prefix}/share/zsh/site-functions)  # for what administrators install
    file(RENAME ${prefix}/share/zsh/site-functions ${prefix}/share/zsh/vendor-completions)
  endif()
endforeach()
