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

// `data` beside the title.
std::string filled(std::string_view page_template, const std::string& title, Json data) {
  // A title of any bytes goes through JSON, which makes it UTF-8.
  data["title"] = title;
  data["tool"] = "tensorpatch " TENSORPATCH_VERSION;
  const std::string clean_title =
      Json::parse(Json(title).dump(-1, ' ', false, Json::error_handler_t::replace));
  std::string page;
  const std::pair<std::string_view, std::string> parts[] = {{"<!--title-->", escaped(clean_title)},
                                                            {"<!--data-->", embeddable(data)}};
  for (const auto& [place, text] : parts) {
    const size_t at = page_template.find(place);
    page += page_template.substr(0, at);
    page += text;
    page_template.remove_prefix(at + place.size());
  }
  page += page_template;
  return page;
}

}  // namespace

std::string page_text(const std::string& title, const Json& comparisons) {
  return filled(kPageTemplate, title, {{"comparisons", comparisons}});
}

std::string snap_page_text(const std::string& title, const Json& report) {
  return filled(kSnapTemplate, title, {{"report", report}});
}

}  // namespace tensorpatch::cli
