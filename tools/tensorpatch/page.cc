// page.cc: puts the data into the template that the build embedded.
// SPDX-License-Identifier: Apache-2.0
#include "page.h"

#include <string_view>

#include "page_template.h"

namespace tensorpatch::cli {
namespace {

// JSON that may stand in a script element: "<" would begin its end or a comment.
std::string embeddable(const Json& json) {
  std::string text;
  for (const char c : json.dump(-1, ' ', false, Json::error_handler_t::replace)) {
    if (c == '<') {
      text += "\\u003c";
    } else if (c == '>') {
      text += "\\u003e";
    } else {
      text += c;
    }
  }
  return text;
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace

std::string page_text(const std::string& title, const Json& comparisons) {
  // A title of any bytes goes through JSON, which makes it UTF-8.
  const Json data = {
      {"title", title}, {"tool", "tensorpatch " TENSORPATCH_VERSION}, {"comparisons", comparisons}};
  const std::string clean_title =
      Json::parse(Json(title).dump(-1, ' ', false, Json::error_handler_t::replace));
  std::string page;
  std::string_view rest(kPageTemplate);
  const std::pair<std::string_view, std::string> parts[] = {{"<!--title-->", escaped(clean_title)},
                                                            {"<!--data-->", embeddable(data)}};
  for (const auto& [place, text] : parts) {
    const size_t at = rest.find(place);
    page += rest.substr(0, at);
    page += text;
    rest.remove_prefix(at + place.size());
  }
  page += rest;
  return page;
}

}  // namespace tensorpatch::cli
