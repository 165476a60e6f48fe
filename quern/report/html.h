#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quern::report {

/// & < > " ' as entities; control characters that HTML forbids are dropped.
std::string escape_html(std::string_view text);

using Rows = std::vector<std::vector<std::string>>;

/// A picture in a page: its bytes as a data URI (formats::png_data_uri) and what stands below it.
struct PictureTile {
  std::string source;
  std::string caption;
};

/// A page in one file: no scripts, nothing fetched. Every text given is escaped; only svg() takes
/// markup.
class HtmlPage {
 public:
  explicit HtmlPage(std::string title) : title_(std::move(title)) {}
  void heading(std::string_view text);
  void paragraph(std::string_view text);
  void preformatted(std::string_view text);
  void table(const std::vector<std::string>& header, const Rows& rows);
  void svg(std::string_view element);
  /// Side by side, each `width` CSS pixels wide, enlarged without smoothing. Throws
  /// std::invalid_argument where a source is no "data:image/" URI: a page fetches nothing.
  void pictures(const std::vector<PictureTile>& tiles, int width);
  std::string str() const;

 private:
  std::string title_;
  std::string body_;
};

/// A Markdown table; '|' and line ends in cells are escaped.
std::string markdown_table(const std::vector<std::string>& header, const Rows& rows);

}  // namespace quern::report
