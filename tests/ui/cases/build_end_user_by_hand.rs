use midsession::EndUser;

fn main() {
    let _ = EndUser { text: "".into(), ends: [0, 0, 0] };
}
