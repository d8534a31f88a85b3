// Beast's HTTP/1.1 parser, filling our own messages: no second container of headers, no second copy
// of the body, and our own limit on it. Internal; includes Beast.
#pragma once

#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <type_traits>

#include "net/http.h"

namespace holdfast::net {

namespace http = boost::beast::http;
using boost::system::error_code;

/// Parses one message. Feed it with put(): it stops once after the header, so that the body's limit
/// can depend on what is asked for, and goes on with the body after ReadBody.
template <bool kIsRequest>
class MessageParser final : public http::basic_parser<kIsRequest> {
 public:
  MessageParser() { this->body_limit(boost::none); }
  MessageParser(const MessageParser&) = delete;
  MessageParser& operator=(const MessageParser&) = delete;

  void ReadBody(std::size_t limit) {
    limit_ = limit;
    this->eager(true);
    if (auto length = this->content_length(); length && *length <= limit_) {
      message.body.reserve(*length + kParserSlack);
    }
  }

  std::conditional_t<kIsRequest, HttpRequest, HttpResponse> message;
  bool is_http_1_0 = false;

 private:
  using View = boost::beast::string_view;
  // What parsers that read ahead may touch behind the end of a body.
  static constexpr std::size_t kParserSlack = 64;

  void on_request_impl(http::verb, View method, View target, int version, error_code&) override {
    if constexpr (kIsRequest) {
      message.method = method;
      message.target = target;
      is_http_1_0 = version == 10;
    }
  }
  void on_response_impl(int status, View, int version, error_code&) override {
    if constexpr (!kIsRequest) {
      message.status = status;
      is_http_1_0 = version == 10;
    }
  }
  void on_field_impl(http::field, View name, View value, error_code&) override {
    // Trailers of a chunked body are read and dropped: nobody may smuggle a header past a check.
    if (!this->is_header_done()) message.headers.emplace_back(name, value);
  }
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>& length, error_code& ec) override {
    if (length && *length > limit_) ec = http::error::body_limit;
  }
  std::size_t on_body_impl(View piece, error_code& ec) override {
    if (piece.size() > limit_ - message.body.size()) {
      ec = http::error::body_limit;
      return 0;
    }
    message.body.append(piece);
    return piece.size();
  }
  void on_chunk_header_impl(std::uint64_t size, View, error_code& ec) override {
    if (size > limit_ - message.body.size()) ec = http::error::body_limit;
  }
  std::size_t on_chunk_body_impl(std::uint64_t, View piece, error_code& ec) override {
    return on_body_impl(piece, ec);
  }
  void on_finish_impl(error_code&) override {
    if (!message.body.empty()) message.body.reserve(message.body.size() + kParserSlack);
  }

  std::size_t limit_ = 0;
};

using RequestParser = MessageParser<true>;
using ResponseParser = MessageParser<false>;

}  // namespace holdfast::net
