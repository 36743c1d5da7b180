//! The rule for e-mail addresses, stated by examples with their reasons. It is HTML's rule for `<input type=email>` with
//! international domains and address literals. Most cases are from the collection of isemail, some from the HTML standard's
//! tests; where RFC 5321 and HTML differ, HTML counts.

use midsession::EndUserField;

use crate::end_user::assert_acceptable;

#[test]
fn these_are_addresses() {
    for (address, reason) in GOOD {
        assert_acceptable(EndUserField::Email, address, true, reason);
    }
    let longest_user = "u".repeat(64);
    assert_acceptable(EndUserField::Email, &format!("{longest_user}@example.com"), true, "user part of 64 bytes");
    assert_acceptable(EndUserField::Email, &format!("a@{}.com", "l".repeat(63)), true, "a label has at most 63 bytes");
}

#[test]
fn these_are_not_addresses() {
    for (address, reason) in BAD {
        assert_acceptable(EndUserField::Email, address, false, reason);
    }
    assert_acceptable(EndUserField::Email, &format!("{}@example.com", "u".repeat(65)), false, "user part of 65 bytes");
    assert_acceptable(EndUserField::Email, &format!("a@{}.com", "l".repeat(64)), false, "label of 64 bytes");
    assert_acceptable(EndUserField::Email, &format!("a@{}.com", "ü".repeat(64)), false, "label too long once encoded");
}

/// `validator` 0.21 takes each of these, since a literal stands at the end of the domain.
#[test]
fn text_before_an_address_literal_makes_it_invalid() {
    for literal in ["[127.0.0.1]", "[::1]", "[2001:db8::1]"] {
        for text in [
            "<b>any text</b> ",
            "\"><script>alert(1)</script>",
            "b.example, c ",
            "example.com",
            "example.com ",
            "[",
            "[127.0.0.1]",
            "é",
            "\u{ad}",
            "b@",
            " ",
            ".",
        ] {
            assert_acceptable(EndUserField::Email, &format!("a@{text}{literal}"), false, "text before the literal");
        }
        for text in [" ", ".", "a", ".com", "\u{ad}", "\u{200b}", "]", "é"] {
            assert_acceptable(EndUserField::Email, &format!("a@{literal}{text}"), false, "text after the literal");
        }
        assert_acceptable(EndUserField::Email, &format!("a@{literal}"), true, "the literal alone");
    }
}

/// IDN maps full-width forms to ASCII: what was no literal becomes one, after the check.
#[test]
fn brackets_that_only_the_encoding_makes_are_not_a_literal() {
    for (open, close) in [("［", "］"), ("﹇", "﹈"), ("[", "］"), ("［", "]"), ("\u{ad}[", "]")] {
        for address in ["127.0.0.1", "１２７.0.0.1", "127。0。0。1", "::1"] {
            let text = format!("a@{open}{address}{close}");
            assert_acceptable(EndUserField::Email, &text, false, "full-width literal");
        }
    }
}

const GOOD: &[(&str, &str)] = &[
    ("johndoe@example.com", "the contract's own"),
    ("a@b", "one label is a host name"),
    ("1@1", "digits"),
    ("a@127.0.0.1", "all labels are digits: a host name by HTML's rule"),
    ("test@iana.org", "plain"),
    ("test@nominet.org.uk", "several labels"),
    ("test@about.museum", "a long top-level domain"),
    ("a@iana.org", "a user part of one character"),
    ("test@e.com", "a label of one character"),
    ("test@iana.a", "a top-level domain of one character"),
    ("test.test@iana.org", "a dot in the user part"),
    (".test@iana.org", "HTML takes a dot at the start"),
    ("test.@iana.org", "HTML takes a dot at the end"),
    ("test..iana.org@iana.org", "HTML takes two dots in a row"),
    ("!#$%&'*+/=?^_`{|}~.-@iana.org", "every character of HTML's user part"),
    ("user+tag@example.com", "a tag"),
    ("123@iana.org", "a user part of digits"),
    ("test@123.com", "a label of digits"),
    ("test@iana.123", "a top-level domain of digits"),
    ("test@255.255.255.255", "the same"),
    ("test@mason-dixon.com", "a hyphen inside a label"),
    ("test@c--n.com", "two hyphens inside a label"),
    ("test@iana.co-uk", "a hyphen in the top-level domain"),
    ("xn--test@iana.org", "a user part that looks encoded"),
    ("test@xn--hxajbheg2az3al.xn--jxalpdlp", "an encoded international domain"),
    ("a@EXAMPLE.COM", "capitals"),
    ("a@münchen.example", "an international domain"),
    ("a@domain.with.idn.tld.उदाहरण.परीक्षा", "an international domain, Devanagari"),
    ("a@ουτοπία.example", "an international domain, Greek"),
    ("a@例え。テスト", "the ideographic full stop separates labels"),
    ("a@ｅｘａｍｐｌｅ.com", "full-width letters are mapped to ASCII"),
    ("a@[127.0.0.1]", "an IPv4 literal"),
    ("a@[255.255.255.255]", "the greatest IPv4 literal"),
    ("a@[0.0.0.0]", "the least IPv4 literal"),
    ("a@[::]", "the shortest IPv6 literal"),
    ("a@[::1]", "an IPv6 literal"),
    ("a@[2001:DB8::1]", "capitals in an IPv6 literal"),
    ("a@[1111:2222:3333:4444:5555:6666:7777:8888]", "all eight groups"),
    ("a@[::ffff:192.0.2.1]", "a mapped IPv4 address"),
    ("a@[1111:2222:3333:4444:5555:6666:255.255.255.255]", "six groups and an IPv4 address"),
];

const BAD: &[(&str, &str)] = &[
    ("test", "no at sign"),
    ("@", "neither user part nor domain"),
    ("test@", "no domain"),
    ("@iana.org", "no user part"),
    ("@@b", "two at signs"),
    ("a@b@c", "two at signs"),
    ("test@@iana.org", "two at signs"),
    ("a b@c", "a blank in the user part"),
    ("a@b c", "a blank in the domain"),
    (" a@b", "a blank before"),
    ("a@b ", "a blank after"),
    ("a@-b", "a hyphen before"),
    ("a@b-", "a hyphen after"),
    ("test@-iana.org", "a label that starts with a hyphen"),
    ("test@iana-.com", "a label that ends in a hyphen"),
    ("test@.iana.org", "an empty label"),
    ("test@iana..com", "an empty label"),
    ("test@iana.org.", "a dot at the end"),
    ("a@b.", "a dot at the end"),
    ("a@.", "nothing but a dot"),
    ("a@exa_mple.com", "an underscore is no letter of a host name"),
    ("a@exam,ple.com", "a comma"),
    ("a@b.example, c@d.example", "two addresses"),
    ("a@b.example;c@d.example", "two addresses"),
    ("mailto:a@b", "a URI"),
    ("a@b.c:25", "a port"),
    ("a@b/c", "a path"),
    ("John <a@b.c>", "a display name"),
    ("\"test\"@iana.org", "a quoted user part: HTML takes none"),
    ("\"\"@iana.org", "an empty quoted user part"),
    ("test\\@test@iana.org", "an escaped at sign"),
    ("test\"@iana.org", "a quotation mark"),
    ("(comment)test@iana.org", "a comment"),
    ("test@(comment)iana.org", "a comment"),
    ("test@iana.org(comment)", "a comment"),
    ("test@[iana.org]", "a literal that is not an IP address"),
    ("ü@example.com", "the user part is ASCII"),
    ("а@example.com", "the user part is ASCII (this is a Cyrillic letter)"),
    ("a@é..com", "an empty label in an international domain"),
    ("a@.é", "an empty label in an international domain"),
    ("a@é.", "a dot at the end of an international domain"),
    ("a@é。", "an ideographic full stop at the end"),
    ("a@é.\u{ad}", "a label that is empty once encoded"),
    ("a@\u{ad}", "a domain that is empty once encoded"),
    ("a@é_b.com", "an underscore in an international domain"),
    ("a@é b.com", "a blank in an international domain"),
    ("a@é<b>.com", "markup in an international domain"),
    ("a@é@b", "two at signs in an international domain"),
    ("a@xn--é", "what looks encoded and is not ASCII"),
    ("a@\u{301}b.com", "a label that starts with a combining mark"),
    ("a@א1a.com", "letters of both directions in one label"),
    ("a@🙂\u{200d}.com", "a joiner at the end of a label"),
    ("a@[]", "an empty literal"),
    ("a@[127.0.0.1", "a bracket that is not closed"),
    ("a@127.0.0.1]", "a bracket that is not opened"),
    ("a@[[127.0.0.1]]", "two pairs of brackets"),
    ("a@[ 127.0.0.1]", "a blank in the literal"),
    ("a@[127.0.0.1 ]", "a blank in the literal"),
    ("a@[127.0.0]", "three numbers"),
    ("a@[127.0.0.1.1]", "five numbers"),
    ("a@[127.0.0.256]", "a number above 255"),
    ("a@[127.0.0.01]", "a leading zero"),
    ("a@[127.0.0.1/8]", "a network"),
    ("a@[0x7f.0.0.1]", "a hexadecimal number"),
    ("a@[2130706433]", "an IPv4 address in one number"),
    ("a@[IPv6:::1]", "RFC 5321's tag: validator's rule has none"),
    ("a@[IPv6:2001:db8::1]", "RFC 5321's tag: validator's rule has none"),
    ("a@[fe80::1%eth0]", "a zone"),
    ("a@[fe80::1%25eth0]", "an encoded zone"),
    ("a@[::1]:25", "a port"),
    ("a@[:::1]", "three colons"),
    ("a@[1111:2222:3333:4444:5555:6666:7777]", "seven groups"),
    ("a@[1111:2222:3333:4444:5555:6666:7777:8888:9999]", "nine groups"),
    ("a@[1::2::3]", "two gaps"),
    ("a@[::12345]", "a group of five digits"),
    ("a@[::g]", "a letter that is not a hexadecimal digit"),
    ("a@[::1.2.3]", "half an IPv4 address at the end"),
    ("a@[١٢٧.0.0.1]", "digits of another script"),
];
