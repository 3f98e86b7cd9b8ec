//! Phone numbers: from what people and clients write to the digits of E.164, and back to country and national number.
//!
//! Source: ITU-T E.164, "List of ITU-T Recommendation E.164 assigned country codes"; Client-Server API, "Phone number".

/// Digits of an E.164 number at most, and at least: no shorter one reaches a mobile phone.
const MAX_DIGITS: usize = 15;
const MIN_DIGITS: usize = 6;

/// Country codes, each with the two-letter codes (ISO 3166-1) of those who use it. No code begins another.
const COUNTRIES: &[(&str, &str)] = &[
    ("1", "US CA AG AI AS BB BM BS DM DO GD GU JM KN KY LC MP MS PR SX TC TT VC VG VI"),
    ("7", "RU KZ"),
    ("20", "EG"),
    ("27", "ZA"),
    ("30", "GR"),
    ("31", "NL"),
    ("32", "BE"),
    ("33", "FR"),
    ("34", "ES"),
    ("36", "HU"),
    ("39", "IT VA"),
    ("40", "RO"),
    ("41", "CH"),
    ("43", "AT"),
    ("44", "GB GG IM JE"),
    ("45", "DK"),
    ("46", "SE"),
    ("47", "NO SJ"),
    ("48", "PL"),
    ("49", "DE"),
    ("51", "PE"),
    ("52", "MX"),
    ("53", "CU"),
    ("54", "AR"),
    ("55", "BR"),
    ("56", "CL"),
    ("57", "CO"),
    ("58", "VE"),
    ("60", "MY"),
    ("61", "AU CX CC"),
    ("62", "ID"),
    ("63", "PH"),
    ("64", "NZ PN"),
    ("65", "SG"),
    ("66", "TH"),
    ("81", "JP"),
    ("82", "KR"),
    ("84", "VN"),
    ("86", "CN"),
    ("90", "TR"),
    ("91", "IN"),
    ("92", "PK"),
    ("93", "AF"),
    ("94", "LK"),
    ("95", "MM"),
    ("98", "IR"),
    ("211", "SS"),
    ("212", "MA EH"),
    ("213", "DZ"),
    ("216", "TN"),
    ("218", "LY"),
    ("220", "GM"),
    ("221", "SN"),
    ("222", "MR"),
    ("223", "ML"),
    ("224", "GN"),
    ("225", "CI"),
    ("226", "BF"),
    ("227", "NE"),
    ("228", "TG"),
    ("229", "BJ"),
    ("230", "MU"),
    ("231", "LR"),
    ("232", "SL"),
    ("233", "GH"),
    ("234", "NG"),
    ("235", "TD"),
    ("236", "CF"),
    ("237", "CM"),
    ("238", "CV"),
    ("239", "ST"),
    ("240", "GQ"),
    ("241", "GA"),
    ("242", "CG"),
    ("243", "CD"),
    ("244", "AO"),
    ("245", "GW"),
    ("246", "IO"),
    ("247", "AC"),
    ("248", "SC"),
    ("249", "SD"),
    ("250", "RW"),
    ("251", "ET"),
    ("252", "SO"),
    ("253", "DJ"),
    ("254", "KE"),
    ("255", "TZ"),
    ("256", "UG"),
    ("257", "BI"),
    ("258", "MZ"),
    ("260", "ZM"),
    ("261", "MG"),
    ("262", "RE YT TF"),
    ("263", "ZW"),
    ("264", "NA"),
    ("265", "MW"),
    ("266", "LS"),
    ("267", "BW"),
    ("268", "SZ"),
    ("269", "KM"),
    ("290", "SH TA"),
    ("291", "ER"),
    ("297", "AW"),
    ("298", "FO"),
    ("299", "GL"),
    ("350", "GI"),
    ("351", "PT"),
    ("352", "LU"),
    ("353", "IE"),
    ("354", "IS"),
    ("355", "AL"),
    ("356", "MT"),
    ("357", "CY"),
    ("358", "FI AX"),
    ("359", "BG"),
    ("370", "LT"),
    ("371", "LV"),
    ("372", "EE"),
    ("373", "MD"),
    ("374", "AM"),
    ("375", "BY"),
    ("376", "AD"),
    ("377", "MC"),
    ("378", "SM"),
    ("380", "UA"),
    ("381", "RS"),
    ("382", "ME"),
    ("383", "XK"),
    ("385", "HR"),
    ("386", "SI"),
    ("387", "BA"),
    ("389", "MK"),
    ("420", "CZ"),
    ("421", "SK"),
    ("423", "LI"),
    ("500", "FK GS"),
    ("501", "BZ"),
    ("502", "GT"),
    ("503", "SV"),
    ("504", "HN"),
    ("505", "NI"),
    ("506", "CR"),
    ("507", "PA"),
    ("508", "PM"),
    ("509", "HT"),
    ("590", "GP BL MF"),
    ("591", "BO"),
    ("592", "GY"),
    ("593", "EC"),
    ("594", "GF"),
    ("595", "PY"),
    ("596", "MQ"),
    ("597", "SR"),
    ("598", "UY"),
    ("599", "CW BQ"),
    ("670", "TL"),
    ("672", "NF AQ HM"),
    ("673", "BN"),
    ("674", "NR"),
    ("675", "PG"),
    ("676", "TO"),
    ("677", "SB"),
    ("678", "VU"),
    ("679", "FJ"),
    ("680", "PW"),
    ("681", "WF"),
    ("682", "CK"),
    ("683", "NU"),
    ("685", "WS"),
    ("686", "KI"),
    ("687", "NC"),
    ("688", "TV"),
    ("689", "PF"),
    ("690", "TK"),
    ("691", "FM"),
    ("692", "MH"),
    ("850", "KP"),
    ("852", "HK"),
    ("853", "MO"),
    ("855", "KH"),
    ("856", "LA"),
    ("880", "BD"),
    ("886", "TW"),
    ("960", "MV"),
    ("961", "LB"),
    ("962", "JO"),
    ("963", "SY"),
    ("964", "IQ"),
    ("965", "KW"),
    ("966", "SA"),
    ("967", "YE"),
    ("968", "OM"),
    ("970", "PS"),
    ("971", "AE"),
    ("972", "IL"),
    ("973", "BH"),
    ("974", "QA"),
    ("975", "BT"),
    ("976", "MN"),
    ("977", "NP"),
    ("992", "TJ"),
    ("993", "TM"),
    ("994", "AZ"),
    ("995", "GE"),
    ("996", "KG"),
    ("998", "UZ"),
];

/// Countries whose subscribers' numbers begin with a zero that belongs to them; elsewhere it is dialled inside the country alone.
const ZERO_BELONGS: [&str; 5] = ["39", "225", "241", "242", "378"];

/// The code of a country by its two letters.
fn of_country(country: &str) -> Option<&'static str> {
    let country = country.to_ascii_uppercase();
    COUNTRIES.iter().find(|row| row.1.split(' ').any(|letters| letters == country)).map(|row| row.0)
}

/// The country code that E.164 digits begin with.
fn area(digits: &str) -> Option<&'static str> {
    COUNTRIES.iter().find(|row| digits.starts_with(row.0)).map(|row| row.0)
}

/// The digits of what a person wrote, without the spaces, hyphens, dots and brackets that people put in.
fn bare(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| !" -.()/".contains(*c)).take(MAX_DIGITS + 5).collect();
    digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(digits)
}

/// A country code and a national number as E.164 digits.
fn joined(area_code: &str, national: &str) -> Option<String> {
    let national = match ZERO_BELONGS.contains(&area_code) {
        true => national,
        false => national.strip_prefix('0').unwrap_or(national),
    };
    checked(format!("{area_code}{national}"))
}

fn checked(digits: String) -> Option<String> {
    ((MIN_DIGITS..=MAX_DIGITS).contains(&digits.len()) && area(&digits).is_some()).then_some(digits)
}

/// E.164 digits of a number as LinkIM's clients give it: `+86` or `86`, and `138 0013 8000`.
pub(super) fn from_area(area_code: &str, number: &str) -> Option<String> {
    let area_code = area_code.trim().strip_prefix('+').unwrap_or(area_code.trim());
    if area_code.is_empty() || area_code.len() > 4 || area_code.starts_with('0') {
        return None;
    }
    let area_code = bare(area_code)?;
    joined(&area_code, &bare(number)?)
}

/// E.164 digits of a number as Matrix's clients give it: a country's two letters and a number as dialled there, or with a plus.
pub(super) fn from_country(country: &str, number: &str) -> Option<String> {
    match number.trim().strip_prefix('+') {
        Some(digits) => checked(bare(digits)?),
        None => joined(of_country(country)?, &bare(number)?),
    }
}

/// E.164 digits, as Matrix stores them.
pub(super) fn from_digits(digits: &str) -> Option<String> {
    checked(bare(digits.trim().strip_prefix('+').unwrap_or(digits.trim()))?)
}

/// Country code and national number of E.164 digits.
pub(super) fn split(digits: &str) -> (&str, &str) {
    digits.split_at(area(digits).map_or(0, str::len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_country_code_begins_another() {
        for (code, _) in COUNTRIES {
            let begun: Vec<_> = COUNTRIES.iter().filter(|row| row.0.starts_with(code)).collect();
            assert_eq!(begun.len(), 1, "{begun:?}");
        }
    }

    #[test]
    fn one_number_has_one_form() {
        let same = ["+44", "44", " +44"].map(|area| from_area(area, "07700 900-001"));
        assert_eq!(same, [const { Some("447700900001") }; 3].map(|digits| digits.map(str::to_owned)));
        assert_eq!(from_area("86", "138 0013 8000").as_deref(), Some("8613800138000"));
        assert_eq!(from_country("GB", "07700900001").as_deref(), Some("447700900001"));
        assert_eq!(from_country("", "+44 7700 900001").as_deref(), Some("447700900001"));
        assert_eq!(from_country("it", "06 698 1234").as_deref(), Some("39066981234"));
        assert_eq!(from_digits("447700900001").as_deref(), Some("447700900001"));
        assert_eq!(split("8613800138000"), ("86", "13800138000"));
        assert_eq!(split("12025550100"), ("1", "2025550100"));
    }

    #[test]
    fn what_is_no_number_is_none() {
        for (area, number) in [
            ("", "13800138000"),
            ("+", "1"),
            ("0086", "13800138000"),
            ("86", ""),
            ("86", "12a"),
            ("999", "1234567"),
            ("86", "12345678901234567"),
        ] {
            assert_eq!(from_area(area, number), None, "{area} {number}");
        }
        assert_eq!(from_country("ZZ", "12345678"), None);
        assert_eq!(from_digits("1"), None);
    }
}
