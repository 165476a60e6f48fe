#include "quern/report/html.h"

#include <fmt/format.h>

#include <stdexcept>

namespace quern::report {
namespace {

constexpr std::string_view kStyle =
    "body{font:16px/1.5 sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2rem}svg{max-width:100%;height:auto}"
    "table{border-collapse:collapse;margin:1rem 0}td,th{border:1px solid #ccc;padding:.25rem .6rem;"
    "text-align:left;vertical-align:top}th{background:#f4f4f4}"
    "pre{background:#f6f6f6;padding:.8rem;white-space:pre-wrap;overflow-wrap:anywhere}"
    ".pictures{display:flex;flex-wrap:wrap;gap:.6rem}.pictures figure{margin:0}"
    ".pictures img{image-rendering:pixelated;height:auto}"
    ".pictures figcaption{font-size:.8rem;overflow-wrap:anywhere}";

std::string markdown_cell(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c == '\n' || c == '\r' ? ' ' : c;
  }
  return out;
}

}  // namespace

std::string escape_html(std::string_view text) {
  std::string out;
  out.reserve(text.size());
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
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        if (static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t') out += c;
    }
  }
  return out;
}

void HtmlPage::heading(std::string_view text) {
  body_ += fmt::format("<h2>{}</h2>\n", escape_html(text));
}

void HtmlPage::paragraph(std::string_view text) {
  body_ += fmt::format("<p>{}</p>\n", escape_html(text));
}

void HtmlPage::preformatted(std::string_view text) {
  body_ += fmt::format("<pre>{}</pre>\n", escape_html(text));
}

void HtmlPage::table(const std::vector<std::string>& header, const Rows& rows) {
  body_ += "<table>\n<tr>";
  for (const std::string& cell : header) body_ += fmt::format("<th>{}</th>", escape_html(cell));
  body_ += "</tr>\n";
  for (const auto& row : rows) {
    body_ += "<tr>";
    for (const std::string& cell : row) body_ += fmt::format("<td>{}</td>", escape_html(cell));
    body_ += "</tr>\n";
  }
  body_ += "</table>\n";
}

void HtmlPage::svg(std::string_view element) { body_ += element; }

void HtmlPage::pictures(const std::vector<PictureTile>& tiles, int width) {
  body_ += "<div class=\"pictures\">\n";
  for (const PictureTile& tile : tiles) {
    if (!tile.source.starts_with("data:image/"))
      throw std::invalid_argument("a page's pictures are data URIs");
    const std::string caption = escape_html(tile.caption);
    body_ += fmt::format(
        "<figure style=\"width:{0}px\"><img src=\"{1}\" width=\"{0}\" alt=\"{2}\">"
        "<figcaption>{2}</figcaption></figure>\n",
        width, escape_html(tile.source), caption);
  }
  body_ += "</div>\n";
}

std::string HtmlPage::str() const {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\">\n<title>{0}</title>\n<style>{1}</style>"
      "</head>\n<body>\n<h1>{0}</h1>\n{2}</body></html>\n",
      escape_html(title_), kStyle, body_);
}

std::string markdown_table(const std::vector<std::string>& header, const Rows& rows) {
  std::string out = "|";
  for (const std::string& cell : header) out += fmt::format(" {} |", markdown_cell(cell));
  out += "\n|";
  for (size_t i = 0; i < header.size(); ++i) out += " --- |";
  out += "\n";
  for (const auto& row : rows) {
    out += "|";
    for (const std::string& cell : row) out += fmt::format(" {} |", markdown_cell(cell));
    out += "\n";
  }
  return out;
}

}  // namespace quern::report
